"""The weights that s1jax ships: a network that has learnt from simulated regions alone."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from s1jax import train
from s1jax.networks.bands import ELSEWHERE, Bands
from s1jax.networks.config import CnpConfig, SequenceConfig
from s1jax.networks.model import SequenceParams, initial

FOLDER = Path(__file__).parent / "shipped"
"""Where they lie: cnp.npz (half precision) and cnp.json (configuration, scores)."""
ARCHITECTURE = ("net", "width", "dilations", "layers", "mixture")
"""Fields of a configuration that weights cannot do without."""


def write(folder: Path, config: SequenceConfig, params: SequenceParams, scores: dict) -> None:
    """Write cnp.npz and cnp.json; `scores` is kept beside the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    leaves = jax.tree_util.tree_leaves_with_path(params.variables.params)
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf, np.float16) for path, leaf in leaves}
    np.savez_compressed(folder / "cnp.npz", **arrays, **params.bands._asdict())
    card = {"config": dataclasses.asdict(config), "scores": scores}
    (folder / "cnp.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def pretrained(config: SequenceConfig = CnpConfig(), *, folder: Path = FOLDER) -> SequenceParams:  # noqa: B008 (frozen)
    """What `cnp` has learnt from simulated regions: no label of the real world is in it.

    It fills a cube that has no label for training, after `adapt` has told it the levels of the
    cube's radar; `fine_tune` goes on from it. Its std as learnt held 90 % of the truth of simulated
    regions that it had not seen (scores in cnp.json); its band and quantiles are 1.25 times as
    wide, for all that is not simulated.

    Args:
      config: of the network, whose architecture must be that of the weights.
      folder: of cnp.npz and cnp.json.

    Raises:
      ValueError: another architecture.
    """
    card = json.loads((folder / "cnp.json").read_text(encoding="utf-8"))["config"]
    for name in ARCHITECTURE:
        found, kept = getattr(config, name), card[name]
        kept = tuple(kept) if isinstance(kept, list) else kept
        if found != kept:
            raise ValueError(f"{name}: got {found!r}, expected {kept!r} of the shipped weights")
    like = jax.eval_shape(lambda: initial(jax.random.key(0), config).params)
    dtype = jnp.zeros(0).dtype
    with np.load(folder / "cnp.npz") as kept:
        params = jax.tree_util.tree_map_with_path(
            lambda path, _: jnp.asarray(kept[jax.tree_util.keystr(path)], dtype), like
        )
        bands = Bands(*(jnp.asarray(kept[name], dtype) for name in Bands._fields))
    mixture = np.full(2, ELSEWHERE, dtype)
    return SequenceParams(train.Variables(params, {}), None, bands, mixture=mixture)
