"""The steps of `experiments.why`: what is changed of a single-date baseline, and on what data."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, NamedTuple

import jax
import numpy as np

from experiments import datasets, protocol, run
from experiments.config import Config
from experiments.splits import Fold, Split
from s1jax import cube, networks, simulate
from s1jax.features import BOTH_NEIGHBOURS, DOCUMENT_10
from s1jax.networks import CnpConfig, Mlp3Config, Mlp10Config, MlpWindowConfig, TcnS1Config
from s1jax.simulate import SceneConfig
from s1jax.train import TrainConfig
from s1jax.types import NDVI, Estimator, Series

WITHIN = 3.0
"""Most days between radar and label in an aligned world."""


class World(NamedTuple):
    """How the one landscape was seen."""

    labels: Literal["exported", "harmonised", "clean"]
    """L1C without a mask, with and without the offset left in; L2A with cloud masked."""
    aligned: bool = False
    """Radar is of passes within 3 days of the labels' mean day, not of the whole period."""
    averaged: bool = False
    """Radar is its mean over 3 x 3 pixels, in linear power."""


class Case(NamedTuple):
    """A method, the world it learns in, and how it is tested."""

    name: str
    world: World
    estimator: Callable[[], Estimator]
    tested: Literal["blocks", "training rows"] = "blocks"
    """On unseen blocks, or on what it has learnt from, as the founding document does."""
    seeds: int | None = None
    """Only the first so many seeds; None: all."""
    rows: int | None = None
    """Learns from every training pixel, which have to have so many labels; None: from some."""


_DATES = TrainConfig(batch_rows=65_536, batches=32, epochs=15)
_SERIES = replace(CnpConfig().train, steps=800)
_TUNED = replace(CnpConfig().train, steps=300, learning_rate=1e-3)
"""Half the rate that networks have by default: docs/why.md was measured with it."""


@dataclass(frozen=True)
class Options:
    """Networks of the steps."""

    baseline: Mlp3Config = field(
        default_factory=lambda: Mlp3Config(of_db=True, tanh=True, train=_DATES)
    )
    """The single-date baseline, with its faults."""
    mlp10: Mlp10Config = field(
        default_factory=lambda: Mlp10Config(of_db=True, tanh=True, train=_DATES)
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


EXPORTED, CLEAN = World("exported"), World("clean")


def ladder(options: Options) -> tuple[Case, ...]:
    """Cases that keep what the ones before them have changed."""
    mlp = networks.mlp
    plain = replace(options.baseline, of_db=False, tanh=False)
    ten = replace(plain, features=DOCUMENT_10)
    both = replace(plain, features=BOTH_NEIGHBOURS)
    near = CLEAN._replace(aligned=True)
    narrow = replace(options.window, spatial=False)
    baseline = options.baseline
    powers = replace(baseline, of_db=False)
    return (
        Case("baseline, test = training", EXPORTED, partial(mlp, baseline), tested="training rows"),
        Case("unseen blocks", EXPORTED, partial(mlp, baseline)),
        Case("masked, harmonised labels", CLEAN, partial(mlp, baseline)),
        Case("indices from linear power", CLEAN, partial(mlp, powers)),
        Case("no Tanh", CLEAN, partial(mlp, plain)),
        Case("radar within 3 days", near, partial(mlp, plain)),
        Case("ten features", near, partial(mlp, ten)),
        Case("both neighbours", near, partial(mlp, both)),
        Case("window of 11 dates", near, partial(networks.sequence, narrow)),
        Case("3 x 3 and 7 x 7 means", near, partial(networks.sequence, options.window)),
        Case("full series", near, partial(networks.sequence, options.series)),
        Case("own NDVI", near, partial(networks.sequence, options.anew)),
        Case("pre-training", near, partial(networks.sequence, options.cnp)),
    )


def alone(options: Options) -> tuple[Case, ...]:
    """The baseline on unseen blocks with one change each."""
    mlp, sequence, baseline = networks.mlp, networks.sequence, options.baseline
    narrow = replace(options.window, spatial=False)
    apart = replace(options.series, spatial=False)
    both = replace(baseline, features=BOTH_NEIGHBOURS)
    balanced = replace(baseline, balanced=options.balanced)
    own = replace(options.anew, spatial=False)
    learnt = replace(options.cnp, ndvi=False)
    return (
        Case("harmonised labels", World("harmonised"), partial(mlp, baseline)),
        Case("masked, harmonised labels", CLEAN, partial(mlp, baseline)),
        Case("indices from linear power", EXPORTED, partial(mlp, replace(baseline, of_db=False))),
        Case("no Tanh", EXPORTED, partial(mlp, replace(baseline, tanh=False))),
        Case("radar within 3 days", EXPORTED._replace(aligned=True), partial(mlp, baseline)),
        Case("ten features", EXPORTED, partial(mlp, replace(baseline, features=DOCUMENT_10))),
        Case("both neighbours", EXPORTED, partial(mlp, both)),
        Case("balanced NDVI", EXPORTED, partial(mlp, balanced)),
        Case("3 x 3 means", EXPORTED._replace(averaged=True), partial(mlp, baseline)),
        Case("window of 11 dates", EXPORTED, partial(sequence, narrow)),
        Case("full series", EXPORTED, partial(sequence, apart)),
        Case("own NDVI", EXPORTED, partial(sequence, own)),
        Case("pre-training", EXPORTED, partial(sequence, learnt)),
    )


def solutions(options: Options) -> tuple[Case, ...]:
    """The founding document's solutions, added up in its own protocol and in ours."""
    slow = options.mlp10.train
    better = replace(slow, epochs=30, learning_rate=0.001)
    first = replace(options.baseline, train=replace(slow, learning_rate=0.01))
    ten = replace(first, features=DOCUMENT_10)
    deep = replace(options.mlp10, train=first.train)
    trained = replace(options.mlp10, train=better)
    networks_ = {
        "as it was": first,
        "1: temporal features": ten,
        "1 + 2: architecture": deep,
        "1 + 2 + 3: training": trained,
        "1 + 2 + 3, without dB indices and Tanh": replace(trained, of_db=False, tanh=False),
        "1 + 2 + 3, balanced NDVI": replace(trained, balanced=options.balanced),
    }
    return tuple(
        Case(name, world, partial(networks.mlp, network), tested=tested)
        for world, tested in ((EXPORTED, "training rows"), (CLEAN, "blocks"))
        for name, network in networks_.items()
    )


def hyperparameters(options: Options) -> tuple[Case, ...]:
    """The baseline with the document's ten features and without the faults, on clean labels: its
    batches, passes and learning rates."""
    plain = replace(options.baseline, features=DOCUMENT_10, of_db=False, tanh=False)
    return tuple(
        Case(
            f"batch {batch:,}, {epochs} epochs, rate {rate:g}",
            CLEAN,
            partial(
                networks.mlp,
                replace(
                    plain,
                    train=TrainConfig(
                        batch_rows=batch, batches=1, epochs=epochs, learning_rate=rate
                    ),
                ),
            ),
            seeds=1,
            rows=batch,
        )
        for batch in options.batches
        for epochs in options.epochs
        for rate in options.rates
    )


def seen(scene: SceneConfig, world: World) -> protocol.Data:
    """The landscape of the scene as a world sees it; pixels, days and truth are those of any other.

    Args:
      scene: size and constants; its mode is the world's.
      world: labels and radar.
    """
    mode = "clean" if world.labels == "clean" else "as_exported"
    offset = 0.0 if world.labels == "harmonised" else scene.exported_offset
    config = replace(scene, mode=mode, exported_offset=offset)
    key = jax.random.key(run.DRAWN_ONCE)
    found = simulate.scene(key, config)
    ds = cube.open_cube(cube.from_scene(found, pixel_m=config.pixel_m))
    if world.aligned:
        ds = _near_labels(ds, simulate.acquisitions(key, config), config)
    data = datasets.in_blocks(run.to_data(cube.despeckle(ds))[0])
    if not world.averaged:
        return data
    series = data.series
    value = np.concatenate([series.smooth, series.value[..., NDVI:]], -1)
    return data._replace(series=series._replace(value=value))


def _near_labels(ds, found, config):
    """The cube with the radar of passes within 3 days of its NDVI, as `cube.align_cube(within=)`
    composites it; missing where no pass is near."""
    acquired = cube.open_cube(cube.from_acquisitions(found, pixel_m=config.pixel_m))
    # as in the composites of the scene both orbits are one mean
    acquired = acquired.drop_vars("s1_track")
    first = ds["t"].values[0] - np.timedelta64(config.step * 12, "h")
    near = cube.align_cube(acquired, start=first, step=config.step, within=WITHIN)
    near = near.reindex(t=ds["t"])
    return ds.assign({name: ds[name].copy(data=near[name].values) for name in ("VV", "VH")})


def split_of(data: protocol.Data, case: Case, limits: tuple[int, int, int], *, seed: int) -> Split:
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
    found = run.split_of(
        Config(
            buffer_m=150.0,
            training_pixels=None if case.rows else training,
            validation_pixels=validation,
            test_pixels=test,
        ),
        data,
        seed,
    )
    (fold,) = found.folds
    rows = int(np.asarray(data.series.valid)[fold.training].all(-1).sum())
    if case.rows is not None and rows < case.rows:
        raise ValueError(
            f"scene: got {rows:,} labels of training pixels, expected the {case.rows:,} of a batch"
        )
    if case.tested == "blocks":
        return found
    same = fold.training
    return Split((Fold(same, same, same, data.block[same]),), ("test = training",))


def same_pixels(one: Series, other: Series) -> bool:
    """Whether two worlds have the same pixels and days."""
    return np.array_equal(one.place, other.place) and np.array_equal(one.day, other.day)
