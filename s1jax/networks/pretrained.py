"""The weights that s1jax ships: a network trained on simulated regions alone."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from s1jax import arrays, cards, files
from s1jax.estimators import TRANSFER_INFLATION, Calibration
from s1jax.networks.config import CnpConfig, SequenceConfig
from s1jax.networks.model import SequenceParams, init
from s1jax.train import Variables

FOLDER = Path(__file__).parent / "shipped"
"""Of cnp.npz (half precision) and cnp.json (configuration, scores)."""
ARCHITECTURE = ("net", "width", "dilations", "layers", "mixture")
"""Fields of a configuration that weights depend on."""


def write(folder: Path, params: SequenceParams, scores: dict) -> None:
    """Write cnp.npz and, last, cnp.json with configuration, scores and SHA-256 of the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    leaves = jax.tree_util.tree_leaves_with_path(params.variables.params)
    weights = {jax.tree_util.keystr(path): np.asarray(leaf, np.float16) for path, leaf in leaves}
    content = weights | params.calibration._asdict()
    arrays.write(folder / "cnp.npz", content, compressed=True)
    digest = arrays.digest(folder / "cnp.npz")
    config = dataclasses.asdict(params.config)
    files.write_json(
        folder / "cnp.json", {"config": config, "scores": scores, "weights_sha256": digest}
    )


def about_pretrained(*, folder: Path = FOLDER) -> dict[str, str]:
    """`method`, `weights` and `trained_on` of a map by the shipped weights, for its attributes.

    Raises:
      ValueError: the card is missing or damaged.
    """
    card, digest = cards.read(folder / "cnp.json"), arrays.digest(folder / "cnp.npz")
    size = "{pixels:,} pixels of {regions} regions".format(**card["scores"])
    return {
        "method": "networks.predict with the shipped weights of cnp, adapted to the input's radar",
        "weights": f"shipped with s1jax, SHA-256 {digest}",
        "trained_on": f"simulated rice alone, {size}; no label of the real world",
    }


def pretrained(config: SequenceConfig = CnpConfig(), *, folder: Path = FOLDER) -> SequenceParams:
    """Parameters of `cnp` trained on simulated regions: no label of the real world is in them.

    They have seen simulated rice alone, of 40 regions like Demak on Java. There, once `adapt` has
    set the levels of the cube's radar, they fill a cube that has no label, or no NDVI at all.
    Anywhere else they are no better than a straight line between the clear dates, or worse: in
    temperate Europe their R2 is below 0. `fine_tune` trains them further where a region has labels,
    as other crops and climates need.

    Their std held 90 % of the truth of simulated regions that they had not seen (scores in
    cnp.json); their band and quantiles are 1.25 times as wide, for all that is not simulated.
    Far from all dates estimates relax to mean 0.5 and std 0.25, those of the NDVI of simulated
    regions, until `adapt` or `fine_tune` sees NDVI of the region.

    Raises:
      ValueError: an architecture other than that of the weights, or files that are missing, damaged
        or of other weights; the message names the file and the field.
    """
    path, file = folder / "cnp.json", folder / "cnp.npz"
    if not path.is_file():
        raise ValueError(f"shipped weights: got no {path}, expected cnp.json and cnp.npz")
    card = cards.read(path)
    stored_config = cards.build(path, "config", card.get("config"), SequenceConfig)
    for name in ARCHITECTURE:
        got, expected = getattr(config, name), getattr(stored_config, name)
        if got != expected:
            raise ValueError(f"{name}: got {got!r}, expected {expected!r} of the shipped weights")
    weights = jax.eval_shape(lambda: init(jax.random.key(0), config).params)
    leaves, structure = jax.tree_util.tree_flatten_with_path(weights)
    shapes = {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}
    stored = arrays.of_shapes(file, shapes | {name: (2,) for name in Calibration._fields})
    if card.get("weights_sha256") not in (None, arrays.digest(file)):
        got = "other weights than cnp.json was written with"
        raise ValueError(f"{file}: got {got}, expected those of its SHA-256")
    for name, array in stored.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{file}: {name}: got numbers that are not finite")
    dtype = jnp.zeros(0).dtype
    values = {name: jnp.asarray(array, dtype) for name, array in stored.items()}
    return SequenceParams(
        config,
        Variables(structure.unflatten([values[name] for name in shapes]), {}),
        calibration=Calibration(*(values[name] for name in Calibration._fields)),
        mixture=np.full(2, TRANSFER_INFLATION, dtype),
    )
