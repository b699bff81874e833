"""The cases of `experiments.studies.why`: what changes of a single-date baseline, on what data."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr

from experiments.protocol import data as datasets
from experiments.protocol.config import Config
from experiments.protocol.data import Data
from experiments.protocol.splits import Fold, Split
from s1jax import cube
from s1jax.features import WITH_NEIGHBOURS, WITH_PREVIOUS
from s1jax.networks import (
    CnpConfig,
    Mlp3Config,
    Mlp10Config,
    MlpWindowConfig,
    TcnS1Config,
    mlp,
    sequence,
)
from s1jax.simulate import SceneConfig
from s1jax.train import TrainConfig
from s1jax.types import Estimator, Series

WITHIN = 3.0
"""Most days between radar and label in an aligned observation."""


class Observation(NamedTuple):
    """How the one landscape was seen."""

    labels: Literal["exported", "harmonised", "clean"]
    """L1C without a mask, with and without the offset left in; L2A with cloud masked."""
    aligned: bool = False
    """Radar is of passes within 3 days of the labels' mean day, not of the whole period."""
    averaged: bool = False
    """Radar is its mean over 3 x 3 pixels, in linear power."""


class Experiment(NamedTuple):
    """A method, the observation it learns from, and how it is tested."""

    name: str
    observation: Observation
    estimator: Callable[[], Estimator]
    tested: Literal["blocks", "training rows"] = "blocks"
    """On unseen blocks, or on what it was trained on, as the founding document does."""
    seeds: int | None = None
    """Only the first so many seeds; None: all."""
    rows: int | None = None
    """Trains on every training pixel, which have to have so many labels; None: on some."""

    @property
    def words(self) -> str:
        """The observation in words."""
        labels, aligned, averaged = self.observation
        return labels + " aligned" * aligned + " 3 x 3" * averaged


_DATES = TrainConfig(batch_rows=65_536, batches=32, epochs=15)
_SERIES = replace(CnpConfig().train, steps=800)
_TUNED = replace(CnpConfig().train, steps=300, learning_rate=1e-3)
"""Half the rate that networks have by default: docs/why.md was measured with it."""


@dataclass(frozen=True)
class Options:
    """Networks of the cases."""

    baseline: Mlp3Config = field(
        default_factory=lambda: Mlp3Config(indices_from_db=True, tanh=True, train=_DATES)
    )
    """The single-date baseline, with its faults."""
    mlp10: Mlp10Config = field(
        default_factory=lambda: Mlp10Config(indices_from_db=True, tanh=True, train=_DATES)
    )
    """The founding document's improved network, with the same faults."""
    window: MlpWindowConfig = field(default_factory=lambda: MlpWindowConfig(train=_SERIES))
    """Radar of five dates to either side."""
    series: TcnS1Config = field(
        default_factory=lambda: TcnS1Config(pretrained=False, train=_SERIES)
    )
    """Radar of all dates."""
    cnp: CnpConfig = field(default_factory=lambda: CnpConfig(train=_TUNED))
    """The same and the pixel's own NDVI, from the weights that s1jax ships."""
    anew: CnpConfig = field(default_factory=lambda: CnpConfig(pretrained=False, train=_SERIES))
    """The same from random weights."""
    balanced: int = 10
    """Ranges of NDVI that rows are drawn from equally often."""
    batches: tuple[int, ...] = (65_536, 256_000)
    """Rows of a batch that are compared."""
    epochs: tuple[int, ...] = (50, 150)
    """Passes that are compared."""
    rates: tuple[float, ...] = (0.01, 0.001)
    """Learning rates that are compared."""


EXPORTED, CLEAN = Observation("exported"), Observation("clean")
NEAR = CLEAN._replace(aligned=True)
FAULTLESS = {"indices_from_db": False, "tanh": False}


def ladder(options: Options) -> tuple[Experiment, ...]:
    """Cases that keep what the ones before them have changed."""
    baseline, narrow = options.baseline, replace(options.window, spatial=False)
    powers, plain = replace(baseline, indices_from_db=False), replace(baseline, **FAULTLESS)
    ten, both = (replace(plain, features=of) for of in (WITH_PREVIOUS, WITH_NEIGHBOURS))
    first = Experiment("baseline, test = training", EXPORTED, partial(mlp, baseline))
    steps = (
        ("unseen blocks", EXPORTED, mlp, baseline),
        ("masked, harmonised labels", CLEAN, mlp, baseline),
        ("indices from linear power", CLEAN, mlp, powers),
        ("no Tanh", CLEAN, mlp, plain),
        ("radar within 3 days", NEAR, mlp, plain),
        ("ten features", NEAR, mlp, ten),
        ("both neighbours", NEAR, mlp, both),
        ("window of 11 dates", NEAR, sequence, narrow),
        ("3 x 3 and 7 x 7 means", NEAR, sequence, options.window),
        ("full series", NEAR, sequence, options.series),
        ("own NDVI", NEAR, sequence, options.anew),
        ("pre-training", NEAR, sequence, options.cnp),
    )
    return first._replace(tested="training rows"), *_experiments(steps)


def alone(options: Options) -> tuple[Experiment, ...]:
    """The baseline on unseen blocks with one change each."""
    baseline = options.baseline

    def _one(**change):
        return mlp, replace(baseline, **change)

    changes = (
        ("harmonised labels", Observation("harmonised"), mlp, baseline),
        ("masked, harmonised labels", CLEAN, mlp, baseline),
        ("indices from linear power", EXPORTED, *_one(indices_from_db=False)),
        ("no Tanh", EXPORTED, *_one(tanh=False)),
        ("radar within 3 days", EXPORTED._replace(aligned=True), mlp, baseline),
        ("ten features", EXPORTED, *_one(features=WITH_PREVIOUS)),
        ("both neighbours", EXPORTED, *_one(features=WITH_NEIGHBOURS)),
        ("balanced NDVI", EXPORTED, *_one(balanced=options.balanced)),
        ("3 x 3 means", EXPORTED._replace(averaged=True), mlp, baseline),
        ("window of 11 dates", EXPORTED, sequence, replace(options.window, spatial=False)),
        ("full series", EXPORTED, sequence, replace(options.series, spatial=False)),
        ("own NDVI", EXPORTED, sequence, replace(options.anew, spatial=False)),
        ("pre-training", EXPORTED, sequence, replace(options.cnp, ndvi=False)),
    )
    return _experiments(changes)


def solutions(options: Options) -> tuple[Experiment, ...]:
    """The founding document's solutions, added up in its own protocol and in ours."""
    slow = options.mlp10.train
    first = replace(options.baseline, train=replace(slow, learning_rate=0.01))
    trained = replace(options.mlp10, train=replace(slow, epochs=30, learning_rate=0.001))
    cases = {
        "as it was": first,
        "1: temporal features": replace(first, features=WITH_PREVIOUS),
        "1 + 2: architecture": replace(options.mlp10, train=first.train),
        "1 + 2 + 3: training": trained,
        "1 + 2 + 3, without dB indices and Tanh": replace(trained, **FAULTLESS),
        "1 + 2 + 3, balanced NDVI": replace(trained, balanced=options.balanced),
    }
    theirs, ours = (
        _experiments((name, observation, mlp, network) for name, network in cases.items())
        for observation in (EXPORTED, CLEAN)
    )
    return *(case._replace(tested="training rows") for case in theirs), *ours


def hyperparameters(options: Options) -> tuple[Experiment, ...]:
    """The baseline with the document's ten features and without the faults, on clean labels: its
    batches, passes and learning rates."""
    plain = replace(options.baseline, features=WITH_PREVIOUS, **FAULTLESS)
    cases = []
    for batch in options.batches:
        for epochs in options.epochs:
            for rate in options.rates:
                train = TrainConfig(batch_rows=batch, batches=1, epochs=epochs, learning_rate=rate)
                name = f"batch {batch:,}, {epochs} epochs, rate {rate:g}"
                network = partial(mlp, replace(plain, train=train))
                cases.append(Experiment(name, CLEAN, network, seeds=1, rows=batch))
    return tuple(cases)


def _experiments(cases) -> tuple[Experiment, ...]:
    """Of names, observations, methods and their configurations."""
    return tuple(Experiment(name, seen, partial(method, of)) for name, seen, method, of in cases)


def observed(scene: SceneConfig, observation: Observation) -> Data:
    """The landscape of the scene as it is observed; pixels, days and truth are always the same.

    Args:
      scene: size and constants; its mode is the observation's.
      observation: labels and radar.
    """
    mode = "clean" if observation.labels == "clean" else "as_exported"
    offset = 0.0 if observation.labels == "harmonised" else scene.exported_offset
    config = replace(scene, mode=mode, exported_offset=offset)
    ds = datasets.simulated(config)
    if observation.aligned:
        ds = _near_labels(ds, config)
    data = datasets.in_blocks(datasets.to_data(cube.despeckle(ds))[0])
    if not observation.averaged:
        return data
    series = data.series
    return data._replace(series=series._replace(radar=series.radar[..., 1:2, :]))


def _near_labels(ds: xr.Dataset, config: SceneConfig) -> xr.Dataset:
    """The cube with the radar of passes within 3 days of its NDVI, as `cube.align_cube(within=)`
    composites it; missing where no pass is near."""
    # as in the composites of the scene both orbits are one mean
    acquired = datasets.simulated(config, single_passes=True).drop_vars("s1_track")
    first = ds["t"].values[0] - np.timedelta64(config.step * 12, "h")
    near = cube.align_cube(acquired, start=first, step=config.step, within=WITHIN)
    near = near.reindex(t=ds["t"])
    return ds.assign({name: ds[name].copy(data=near[name].values) for name in ("VV", "VH")})


def split_of(data: Data, case: Experiment, limits: tuple[int, int, int], *, seed: int) -> Split:
    """Unseen blocks, 150 m away; or, as the document has it, one set of pixels for everything.

    Args:
      data: with blocks.
      case: how it is tested.
      limits: training, validation and test pixels, at most.
      seed: of the deal.

    Raises:
      ValueError: a part without pixels or without any valid label, or too few labels for a batch.
    """
    training, validation, test = limits
    config = Config(
        buffer_m=150.0,
        training_pixels=None if case.rows else training,
        validation_pixels=validation,
        test_pixels=test,
    )
    split = datasets.split_of(config, data, seed)
    (fold,) = split.folds
    valid = np.asarray(data.series.radar_valid).all(-1) & np.asarray(data.series.ndvi_valid)
    rows = int(valid[fold.training].sum())
    if case.rows is not None and rows < case.rows:
        raise ValueError(
            f"scene: got {rows:,} labels of training pixels, expected the {case.rows:,} of a batch"
        )
    if case.tested == "blocks":
        return split
    same = fold.training
    return Split((Fold(same, same, same, data.block[same]),), ("test = training",))


def same_pixels(one: Series, other: Series) -> bool:
    """Whether two observations have the same pixels and days."""
    return np.array_equal(one.position, other.position) and np.array_equal(one.day, other.day)
