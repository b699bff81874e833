"""A learnt network as one folder that loads with nothing else, and refuses what it does not fit."""

import dataclasses
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from s1jax import train
from s1jax.networks.config import MlpConfig, SequenceConfig
from s1jax.networks.mlp import MlpParams, mlp
from s1jax.networks.mlp import like as like_mlp
from s1jax.networks.model import SequenceParams
from s1jax.networks.model import like as like_sequence
from s1jax.networks.sequence import sequence
from s1jax.types import VH, VV, Days, Estimate, Series

UNITS = {"vv": "dB", "vh": "dB", "ndvi": "1", "day": "days since 1970-01-01"}


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
    """Write weights and normaliser (orbax) and `card.json`: features, units, cadence, versions.

    Args:
      folder: made if missing; what an earlier call wrote there is replaced.
      config: what the network was made of.
      params: what it learnt.
      series: what it was trained on; its cadence and value ranges are what a cube must fit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    value, valid = np.asarray(series.value), np.asarray(series.valid)
    spans = {}
    for name, channel in (("vv", VV), ("vh", VH)):
        seen = value[..., channel][valid[..., channel]]
        spans[name] = [float(x) for x in np.quantile(seen, [0.01, 0.5, 0.99])]
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
        "units": UNITS,
        "cadence_days": cadence(series.day),
        "quantiles_01_50_99": spans,
        "s1jax": version("s1jax"),
    }
    train.save(folder / "weights", params)
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n")


def _whole(config: SequenceConfig, params: SequenceParams) -> SequenceParams:
    """Parameters as arrays alone, also of weights that were only told of a region's radar."""
    if params.moments is None:
        raise ValueError("moments of the radar: got none, expected those that `adapt` tells")
    history = params.history
    if history is None:
        history = np.full((config.train.epochs, 2), np.nan, params.moments.mean.dtype)
    return jax.tree.map(jnp.asarray, params._replace(history=history))


def _from_card(card: dict, kind: type) -> MlpConfig | SequenceConfig:
    known = {f.name for f in dataclasses.fields(kind)}
    unknown = set(card) ^ known
    if unknown:
        raise ValueError(f"card.json: got fields {sorted(card)}, expected {sorted(known)}")
    tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in card.items()}
    return kind(**(tuples | {"train": train.TrainConfig(**card["train"])}))


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
      ValueError: the folder has no card, or, when called, the series does not fit (`check`).
    """
    path = folder / "card.json"
    if not path.is_file():
        raise ValueError(f"learnt network: got no {path}, expected the folder that `save` wrote")
    card = json.loads(path.read_text())
    kind, like, estimator = KINDS[card["kind"]]
    config = _from_card(card["config"], kind)
    params = train.restore(folder / "weights", like(config, np.dtype(card["dtype"])))

    def predict(series: Series, days: Days) -> Estimate:
        check(card, series)
        return estimator(config).predict(params, series, days)

    return predict
