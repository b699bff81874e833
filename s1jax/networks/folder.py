"""A learnt network as one folder that loads with nothing else, and refuses what it does not fit."""

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from s1jax import arrays, files, train
from s1jax.features import check_days, without_implausible
from s1jax.networks import card as cards
from s1jax.networks.beyond import PRIOR
from s1jax.networks.config import MlpConfig, SequenceConfig
from s1jax.networks.mlp import MlpParams, mlp
from s1jax.networks.mlp import like as like_mlp
from s1jax.networks.model import SequenceParams
from s1jax.networks.model import like as like_sequence
from s1jax.networks.sequence import sequence
from s1jax.types import VH, VV, Days, Estimate, Series

_OPTIONAL = {f"level.{name}": leaf for name, leaf in PRIOR._asdict().items()}
"""What folders of earlier versions have not, and what stands for it."""
_MOST = 100_000_000
"""Numbers in a folder of weights, at most."""
_LEAST = {
    "bands.factor": 1e-9,
    "bands.floor": 0.0,
    "bands.noise": 0.0,
    "level.std": 1e-9,
    "mixture": 1e-9,
    "moments.std": 0.0,
    "normaliser.feature_std": 1e-30,
    "normaliser.ndvi_std": 1e-9,
    "std": 0.0,
}
"""Least that a number can be: what is divided by, or a standard deviation."""


def cadence(day: np.ndarray) -> float:
    """Median step of a series' days, days."""
    if len(day) < 2:
        raise ValueError(f"day: got {len(day)} dates, expected at least 2 to tell the cadence")
    return float(np.median(np.diff(np.asarray(day))))


KINDS = {
    "mlp": (MlpConfig, like_mlp, mlp),
    "sequence": (SequenceConfig, like_sequence, sequence),
}
"""What a card calls a network: its configuration, what it learns, its Estimator."""


def save(
    folder: Path,
    config: MlpConfig | SequenceConfig,
    params: MlpParams | SequenceParams,
    series: Series,
) -> None:
    """Write weights and normaliser (a .npz file) and `card.json`: features, units, cadence,
    versions.

    What an earlier call wrote stays until the new weights and the new card are on the disk. A save
    that is cut off between the change of the one and of the other leaves no folder that loads.

    Args:
      folder: made if missing; what an earlier call wrote there is replaced.
      config: what the network was made of.
      params: what it learnt.
      series: what it was trained on; its cadence and value ranges are what a cube must fit.

    Raises:
      ValueError: a folder of another machine, or whose `weights` hold other files; a configuration
        or a series of no network.
    """
    files.refuse_remote(folder)
    check_days(series)
    series, _ = without_implausible(series)
    value, valid = np.asarray(series.value), np.asarray(series.valid)
    spans = {}
    for name, channel in (("vv", VV), ("vh", VH)):
        seen = value[..., channel][valid[..., channel]]
        spans[name] = (
            [float(x) for x in np.quantile(seen, [0.01, 0.5, 0.99])] if seen.size else None
        )
    kinds = [kind for kind, (known, *_) in KINDS.items() if isinstance(config, known)]
    if not kinds:
        got = type(config).__name__
        raise ValueError(f"config: got {got}, expected that of one of {(*KINDS,)}")
    (kind,) = kinds
    if kind == "sequence":
        params = _whole(config, params)
    card = {
        "kind": kind,
        "config": dataclasses.asdict(config),
        "dtype": str(jax.tree.leaves(params.variables.params)[0].dtype),
        "units": cards.UNITS,
        "cadence_days": cadence(series.day),
        "quantiles_01_50_99": spans,
        "s1jax": version("s1jax"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with (
        files.replacing(folder / "card.json") as new_card,
        train.saving(folder / "weights", params) as weights,
    ):
        card["weights_sha256"] = arrays.digest(weights / train.FILE)
        new_card.write_text(json.dumps(card, indent=1, default=str) + "\n", encoding="utf-8")
        _retire(folder / "card.json")


def _retire(path: Path) -> None:
    """Remove a card that does not name its weights: it would load with any that fit."""
    if path.is_file() and b'"weights_sha256"' not in path.read_bytes():
        path.unlink()


def _whole(config: SequenceConfig, params: SequenceParams) -> SequenceParams:
    """Parameters as arrays alone, also of weights that were only told of a region's radar."""
    if params.moments is None:
        raise ValueError("moments of the radar: got none, expected those that `adapt` tells")
    history = params.history
    if history is None:
        history = np.full((config.train.epochs, 2), np.nan, params.moments.mean.dtype)
    return jax.tree.map(jnp.asarray, params._replace(history=history))


def check(card: dict, series: Series) -> None:
    """Refuse a series that the network of `card` was not trained for.

    Raises:
      ValueError: another cadence (by more than a quarter), or a median backscatter outside the
        range seen in training by more than 10 dB (linear power where dB is expected, say).
    """
    found, expected = cadence(series.day), card["cadence_days"]
    if not 0.75 < found / expected < 1.25:
        raise ValueError(f"day: got one date in {found:g} days, expected {expected:g} (card.json)")
    value, valid = np.asarray(series.value), np.asarray(series.valid)
    for name, channel in (("vv", VV), ("vh", VH)):
        seen = value[..., channel][valid[..., channel]]
        if card["quantiles_01_50_99"][name] is None:
            continue
        low, _, high = card["quantiles_01_50_99"][name]
        if seen.size and not low - 10.0 < np.median(seen) < high + 10.0:
            raise ValueError(
                f"{name}: got a median of {np.median(seen):.3g}, expected dB between "
                f"{low - 10:.1f} and {high + 10:.1f} (the network was trained on "
                f"{low:.1f} to {high:.1f} dB)"
            )


def load(folder: Path) -> Callable[[Series, Days], Estimate]:
    """`predict(series, days)` of the network in `folder`; it checks each series it is given.

    Raises:
      ValueError: the folder has no card, card or weights are damaged or of a network that cannot be
        (the message names file and field), or, when called, the series does not fit (`check`).
    """
    path = folder / "card.json"
    if not path.is_file():
        raise ValueError(f"learnt network: got no {path}, expected the folder that `save` wrote")
    card = cards.read(path)
    cards.check_card(path, card, tuple(KINDS))
    kind, like, estimator = KINDS[card["kind"]]
    config = cards.config_of(path, card["config"], kind)
    params = _weights(folder / "weights", card, like, config)

    def predict(series: Series, days: Days) -> Estimate:
        check_days(series, days)
        check(card, without_implausible(series)[0])
        return estimator(config).predict(params, series, days)

    return predict


def _weights(folder, card, like, config) -> MlpParams | SequenceParams:
    """What the network learnt, as the card says it is."""
    dtype = jax.dtypes.canonicalize_dtype(card["dtype"])
    shapes = jax.eval_shape(partial(like, config, dtype))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    if count > _MOST:
        got = f"a network of {count:,} numbers"
        raise ValueError(f"{folder}: config: got {got}, expected at most {_MOST:,}")
    file, digest = folder / train.FILE, card.get("weights_sha256")
    if digest is not None and (not file.is_file() or arrays.digest(file) != digest):
        got = "other weights than card.json was written with" if file.is_file() else "none"
        raise ValueError(f"{file}: got {got}, expected those of its SHA-256")
    optional = _OPTIONAL if card["kind"] == "sequence" else {}
    params = train.restore(folder, shapes, optional)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name != "history" and not np.isfinite(leaf).all():
            count = int((~np.isfinite(leaf)).sum())
            got = f"{count} of {leaf.size} numbers that are not finite"
            raise ValueError(f"{folder}: {name}: got {got}, expected finite ones")
        if name in _LEAST and (leaf < _LEAST[name]).any():
            got, expected = f"{leaf.min():.4g}", f"{_LEAST[name]:g} or more"
            raise ValueError(f"{folder}: {name}: got {got}, expected {expected}")
    return jax.tree.map(jnp.asarray, params)
