# %% [markdown]
# # Head to head
# Deep learning and MOGPR on the same simulated rice scene, the same split and the same hidden
# labels. Everything here is a call into `s1jax` or `experiments`; the full version is
# `python -m experiments.run`.

# %%
import os

import jax
import numpy as np

from experiments import masks, protocol, splits
from s1jax import cube, mogpr, networks, plots, simulate
from s1jax.train import TrainConfig

quick = "S1JAX_QUICK" in os.environ
size = simulate.SceneConfig(height=32, width=36) if quick else simulate.SceneConfig(96, 112)

# %% [markdown]
# ## A scene with its truth
# `open_cube` accepts a file just as well. It says what it repaired and how many pixels and days
# have what.

# %%
ds = cube.align_cube(cube.open_cube(cube.from_scene(simulate.scene(jax.random.key(0), size))))
print(ds.attrs["s1jax_funnel"])

# %% [markdown]
# ## A split by places
# Whole blocks are left out, and training pixels keep a distance from them.

# %%
series, pixel = cube.to_series(ds)
data = protocol.Data(series, cube.at_pixels(ds, "truth", pixel), None, None)
split = splits.blocks(np.asarray(series.place, np.float64), None, seed=0)
split = protocol.subsample(split, (200, 100, 60) if quick else (2000, 500, 1000), seed=0)
print(*split.notes)

# %% [markdown]
# ## Hide a 132-day window of each test pixel, in the monsoon
# The masks are drawn once and shared by all methods.

# %%
gaps = protocol.draw_gaps(jax.random.key(1), ("T2c",), data)
view = protocol.view(data, split, "T2c", gaps["T2c"])

# %% [markdown]
# ## Fit and predict
# A network on single dates knows nothing of the pixel's own NDVI; MOGPR fuses both.

# %%
few = TrainConfig(epochs=3 if quick else 30)
process = mogpr.MogprConfig(sample=16, iterations=3) if quick else mogpr.MogprConfig(sample=128)
methods = [
    protocol.Method("mlp3", networks.mlp(networks.Mlp3Config(train=few)), masks.TASKS),
    protocol.Method("mogpr", mogpr.mogpr(process), masks.TASKS),
]
answers = {
    method: estimates
    for method, _, estimates in protocol.head_to_head(jax.random.key(2), methods, data, split, gaps)
}

# %%
where = view.scored["truth"]
for method, estimates in answers.items():
    error = (estimates.mean - view.truth)[where]
    print(f"{method}: R2 {1 - (error**2).mean() / view.truth[where].var():.2f}")

# %% [markdown]
# ## Look at it
# The band is the 90 % interval of the latent NDVI; diamonds are labels no method saw.

# %%
six = np.flatnonzero(where.any(1))[:6]
hidden = view.scored["labels"][six]
estimates = answers["mogpr"]
figure = plots.pixel_series(
    view.day, view.label[six], view.kept[six] | hidden, hidden, view.truth[six],
    estimates.mean[six], estimates.std[six], float(estimates.noise[0]), title="mogpr",
)  # fmt: skip
figure
