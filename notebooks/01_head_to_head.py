# %% [markdown]
# # Head to head
# Deep learning and MOGPR on the same simulated rice scene, the same split and the same hidden
# labels. Everything here is a call into `s1jax` or `experiments`; the full version is
# `python -m experiments.run`.

# %%
import os

import jax
import numpy as np

from experiments.protocol import head_to_head, splits
from experiments.protocol.data import Data
from experiments.protocol.tasks import TASKS
from s1jax import cube, mogpr, networks, plots, simulate
from s1jax.train import TrainConfig

quick = "S1JAX_QUICK" in os.environ
size = simulate.SceneConfig(height=32, width=36) if quick else simulate.SceneConfig(96, 112)

# %% [markdown]
# ## A scene with its truth
# `open_cube` accepts a file just as well. It logs its repairs and counts pixels and days with radar
# and labels.

# %%
ds = cube.align_cube(cube.open_cube(simulate.to_dataset(simulate.scene(jax.random.key(0), size))))
print(ds.attrs["s1jax_funnel"])

# %% [markdown]
# ## A split by places
# Whole blocks are left out, and training pixels keep a distance from them.

# %%
series, pixel = cube.to_series(ds)
data = Data(series, cube.at_pixels(ds, "truth", pixel))
split = splits.blocks(np.asarray(series.position, np.float64), None, seed=0)
split = splits.subsample(split, (200, 100, 60) if quick else (2000, 500, 1000), seed=0)
print(*split.notes)

# %% [markdown]
# ## Hide a 132-day window of each test pixel, in the monsoon
# The masks are drawn once and shared by all methods.

# %%
masks = head_to_head.draw_masks(jax.random.key(1), ("T2c",), data)
test_set = head_to_head.test_set(data, split, "T2c", masks["T2c"])

# %% [markdown]
# ## Fit and predict
# A network on single dates does not see the pixel's own NDVI; MOGPR fuses both.

# %%
few = TrainConfig(epochs=3 if quick else 30)
process = mogpr.MogprConfig(sample=16, iterations=3) if quick else mogpr.MogprConfig(sample=128)
methods = [
    head_to_head.Method("mlp3", networks.mlp(networks.Mlp3Config(train=few)), TASKS),
    head_to_head.Method("mogpr", mogpr.mogpr(process), TASKS),
]
results = head_to_head.head_to_head(jax.random.key(2), methods, data, split, masks)
estimates = {method: estimate for method, _, estimate, _ in results}

# %%
where = test_set.scored["truth"]
for method, estimate in estimates.items():
    error = (estimate.mean - test_set.truth)[where]
    print(f"{method}: R2 {1 - (error**2).mean() / test_set.truth[where].var():.2f}")

# %% [markdown]
# ## Look at it
# The band is the 90 % interval of the latent NDVI; diamonds are labels no method saw.

# %%
six = np.flatnonzero(where.any(1))[:6]
hidden = test_set.scored["labels"][six]
estimate = estimates["mogpr"]
figure = plots.pixel_series(
    test_set.day, test_set.label[six], test_set.kept[six] | hidden, hidden, test_set.truth[six],
    estimate.mean[six], estimate.std[six], float(estimate.noise[0]), title="mogpr",
)  # fmt: skip
figure
