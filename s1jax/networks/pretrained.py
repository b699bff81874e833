"""The weights that s1jax ships: a network that has learnt from simulated regions alone."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from s1jax import arrays, files, train
from s1jax.networks import card as cards
from s1jax.networks.bands import ELSEWHERE, Bands
from s1jax.networks.beyond import PRIOR
from s1jax.networks.config import CnpConfig, SequenceConfig
from s1jax.networks.model import SequenceParams, initial

FOLDER = Path(__file__).parent / "shipped"
"""Where they lie: cnp.npz (half precision) and cnp.json (configuration, scores)."""
ARCHITECTURE = ("net", "width", "dilations", "layers", "mixture")
"""Fields of a configuration that weights cannot do without."""


def write(folder: Path, config: SequenceConfig, params: SequenceParams, scores: dict) -> None:
    """Write cnp.npz and, last, cnp.json; `scores` is kept beside the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    leaves = jax.tree_util.tree_leaves_with_path(params.variables.params)
    weights = {jax.tree_util.keystr(path): np.asarray(leaf, np.float16) for path, leaf in leaves}
    arrays.write(folder / "cnp.npz", weights | params.bands._asdict(), compressed=True)
    digest = arrays.digest(folder / "cnp.npz")
    card = {"config": dataclasses.asdict(config), "scores": scores, "weights_sha256": digest}
    files.write_json(folder / "cnp.json", card)


def about_pretrained(*, folder: Path = FOLDER) -> dict[str, str]:
    """`method`, `weights` and `trained_on` of a map by the shipped weights, as `tiles.fill` takes
    them: the map then says that they know simulated rice alone.

    Args:
      folder: of cnp.npz and cnp.json.

    Raises:
      ValueError: the card is missing or damaged.
    """
    card, digest = cards.read(folder / "cnp.json"), arrays.digest(folder / "cnp.npz")
    size = "{pixels:,} pixels of {regions} regions".format(**card["scores"])
    return {
        "method": "networks.fill of networks.pretrained (cnp), adapted to the radar of the input",
        "weights": f"shipped with s1jax, SHA-256 {digest}",
        "trained_on": f"simulated rice alone, {size}; no label of the real world",
    }


def pretrained(config: SequenceConfig = CnpConfig(), *, folder: Path = FOLDER) -> SequenceParams:  # noqa: B008 (frozen)
    """What `cnp` has learnt from simulated regions: no label of the real world is in it.

    They know simulated rice alone, of regions like Demak on Java: 40 of them. There a network that
    has `adapt` to tell it the levels of the cube's radar fills a cube that has no label, or no
    NDVI at all. Anywhere else they are no better than a straight line between the clear dates, or
    worse: in temperate Europe their R2 is below 0. `fine_tune` goes on from them where a region has
    labels, and that is what to do of other crops and climates.

    Their std as learnt held 90 % of the truth of simulated regions that they had not seen (scores
    in cnp.json); their band and quantiles are 1.25 times as wide, for all that is not simulated.
    Far from all dates estimates relax to mean 0.5 and std 0.25, those of the NDVI of simulated
    regions, until `adapt` or `fine_tune` sees NDVI of the region.

    Args:
      config: of the network, whose architecture must be that of the weights.
      folder: of cnp.npz and cnp.json.

    Raises:
      ValueError: another architecture, or files that are missing, damaged or of other weights; the
        message names the file and the field.
    """
    path = folder / "cnp.json"
    if not path.is_file():
        raise ValueError(f"shipped weights: got no {path}, expected cnp.json and cnp.npz")
    card = cards.read(path)
    kept = cards.config_of(path, card.get("config"), SequenceConfig)
    for name in ARCHITECTURE:
        got, expected = getattr(config, name), getattr(kept, name)
        if got != expected:
            raise ValueError(f"{name}: got {got!r}, expected {expected!r} of the shipped weights")
    like = jax.eval_shape(lambda: initial(jax.random.key(0), config).params)
    named = {jax.tree_util.keystr(p): leaf for p, leaf in jax.tree_util.tree_leaves_with_path(like)}
    shapes = {name: leaf.shape for name, leaf in named.items()}
    stored = arrays.of_shapes(folder / "cnp.npz", shapes | {name: (2,) for name in Bands._fields})
    if card.get("weights_sha256") not in (None, arrays.digest(folder / "cnp.npz")):
        got = "other weights than cnp.json was written with"
        raise ValueError(f"{folder / 'cnp.npz'}: got {got}, expected those of its SHA-256")
    for name, array in stored.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{folder / 'cnp.npz'}: {name}: got numbers that are not finite")
    dtype = jnp.zeros(0).dtype
    params = jax.tree_util.tree_map_with_path(
        lambda path, _: jnp.asarray(stored[jax.tree_util.keystr(path)], dtype), like
    )
    bands = Bands(*(jnp.asarray(stored[name], dtype) for name in Bands._fields))
    mixture = np.full(2, ELSEWHERE, dtype)
    return SequenceParams(train.Variables(params, {}), None, bands, mixture=mixture, level=PRIOR)
