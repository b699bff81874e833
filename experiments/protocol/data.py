"""The data sets: how each is made or opened, the arrays it becomes, and how it is split."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from experiments.protocol import splits
from experiments.protocol.config import Config
from experiments.protocol.splits import Fold, Split
from experiments.protocol.tasks import TASKS
from s1jax import cube, simulate
from s1jax.commands.fill import Align
from s1jax.commands.region import open_aligned
from s1jax.regions import UNLABELLED
from s1jax.simulate import SceneConfig
from s1jax.types import Series, concatenate

SIMULATED = {
    "sim_blocks": "unseen blocks of the simulated scene, 4 x 4, buffer 150 m",
    "sim_region": "another simulated region, with another calendar, crops and soil",
    "sim_year": "the second year of unseen blocks of the simulated scene, trained on the first",
    "sim_blocks_800": "as sim_blocks, buffer 800 m",
}
"""Name and what is tested."""
SCENE_KEY = 0
"""The simulated scene is one data set: its key does not change with the seeds of a run."""
_BLOCKS = 4
"""Blocks of a simulated scene in each direction."""
_OTHER_REGION = {
    "calendar_shift_days": 24.0,
    "lai": 4.0,
    "roughness_db": 2.6,
    "third_season": (0.25, 0.40, 0.35),
}


class Data(NamedTuple):
    """A data set at the door of the protocol: arrays only."""

    series: Series
    truth: Float[np.ndarray, "pixel time"] | None = None
    block: Int[np.ndarray, "pixel"] | None = None
    district: np.ndarray | None = None
    """Name of each pixel's district."""
    relative: bool = False
    """Days count from a beginning that differs from pixel to pixel: there is no calendar."""


class Dataset(NamedTuple):
    """A data set of the comparison."""

    name: str
    words: str
    """What is tested, or the source."""
    data: Data
    split: Callable[[int], Split]
    """Of a seed."""
    transfer: bool
    """Test pixels are of another district, region or year than training pixels."""
    side_by_side: bool = True
    """It is a map; else one pixel stands for a field."""
    tasks: tuple[str, ...] = TASKS
    """T2e, which costs every method a second fit, is not for every simulated one."""


def load(config: Config) -> tuple[xr.Dataset, str]:
    """The aligned cube of a configuration, speckle-filtered radar beside it, and its name; its
    dates are printed."""
    if config.cube is None:
        if config.align != Align():
            raise ValueError(f"align: got {config.align} without a cube, expected acquisitions")
        name = f"demak_sim_{config.scene.mode}"
        ds = cube.align_cube(simulated(config.scene, mask=config.mask), step=config.step)
    else:
        name = Path(config.cube).name.split(".")[0] or Path(config.cube).parent.name
        options = {key: getattr(config, key) for key in ("start", "step", "mask", "align")}
        ds = open_aligned(config.cube, **options)
    print(f"{name}: {cube.span(ds)}", flush=True)
    return cube.despeckle(ds), name


def simulated(
    scene: SceneConfig,
    key: int = SCENE_KEY,
    *,
    mask: str | None = None,
    single_passes: bool = False,
) -> xr.Dataset:
    """The opened cube of a simulated scene: composites, or the acquisitions of single passes."""
    make = simulate.acquisitions if single_passes else simulate.scene
    made = make(jax.random.key(key), scene)
    return cube.open_cube(simulate.to_dataset(made, pixel_m=scene.pixel_m), mask=mask)


def to_data(ds: xr.Dataset) -> tuple[Data, np.ndarray]:
    """Arrays of an aligned cube, and the flat indices of their pixels in its grid."""
    series, pixel = cube.to_series(ds)
    names = ("truth", "block", "district")
    extras = (cube.at_pixels(ds, n, pixel) if n in ds.variables else None for n in names)
    return Data(series, *extras, relative=cube.is_relative(ds)), pixel


def split_of(config: Config, data: Data, seed: int) -> Split:
    """The split of a configuration, with at most as many pixels as it allows.

    Raises:
      ValueError: the cube has no coordinates, no label, or no districts where they are to be left
        out; or a part of the split has too few labels.
    """
    if data.series.position is None:
        raise ValueError(
            "position: got no coordinates in metres or degrees, expected x, y or lat, lon"
        )
    position = np.asarray(data.series.position, np.float64)
    labels = np.asarray(data.series.ndvi_valid)
    if not labels.any():
        raise ValueError(UNLABELLED)
    count = labels.sum(1)
    metres = {"block_m": config.block_m, "buffer_m": config.buffer_m}
    if config.split == "district":
        if data.district is None:
            raise ValueError("district: got no such variable on (y,) or (y, x), expected one")
        split = splits.district(position, data.district, seed=seed, labels=count)
    elif config.split == "season":
        day = np.asarray(data.series.day, np.float64)
        split = splits.season(position, day, data.block, seed=seed, labels=labels, **metres)
    else:
        split = splits.blocks(position, data.block, seed=seed, labels=count, **metres)
    split = splits.subsample(split, _limits(config), seed=seed, labels=labels)
    splits.check(labels, split)
    return split


def real(folder: Path | None) -> tuple[str, ...]:
    """Names of the data sets (.nc) of a folder, in order; of no folder none. Hidden files are none.

    Raises:
      ValueError: there are none in the folder, or one is named as a simulated one.
    """
    if folder is None:
        return ()
    names = tuple(sorted(path.stem for path in folder.glob("*.nc") if path.name[0] != "."))
    if not names:
        raise ValueError(f"--data: got {folder}, expected a folder with data sets (.nc)")
    if taken := set(names) & set(SIMULATED):
        raise ValueError(f"--data: got {sorted(taken)}, expected other names than the simulated")
    return names


def dataset(name: str, config: Config, *, folder: Path | None) -> Dataset:
    """The data set of a name, its split limited to the pixels that `config` allows.

    Args:
      name: of `SIMULATED` or of `real(folder)`. A real one with two districts or more has each
        left out in turn, another is split by its blocks.
      config: scene and numbers of pixels.
      folder: of the real data sets.

    Raises:
      ValueError: unknown.
    """
    if name in SIMULATED:
        data, _ = to_data(cube.despeckle(simulated(config.scene)))
        data = in_blocks(data)
        if name == "sim_region":
            return _region(data, config)
        season = name == "sim_year"
        buffer = 800.0 if name == "sim_blocks_800" else 150.0
        options = replace(config, split="season" if season else "blocks", buffer_m=buffer)
        tasks = TASKS if name == "sim_blocks" else TASKS[:-1]
        split = _split_by(options, data)
        return Dataset(name, SIMULATED[name], data, split, season, tasks=tasks)
    if name not in real(folder):
        raise ValueError(f"data set: got {name!r}, expected one of {(*SIMULATED, *real(folder))}")
    path = folder / f"{name}.nc"
    ds, _ = load(replace(config, cube=str(path)))
    data, _ = to_data(ds)
    transfer = data.district is not None and len(np.unique(data.district)) > 1
    options = replace(config, cube=str(path), split="district" if transfer else "blocks")
    with xr.open_dataset(path, engine="h5netcdf") as file:
        words = str(file.attrs.get("source", "source not stated"))
        words += f" (licence: {file.attrs.get('license', 'not stated')})"
    side_by_side = min(ds.sizes["y"], ds.sizes["x"]) > 1
    return Dataset(name, words, data, _split_by(options, data), transfer, side_by_side)


def in_blocks(data: Data) -> Data:
    """The data with its extent numbered in 4 x 4 blocks."""
    position = np.asarray(data.series.position, np.float64)
    size = np.ptp(position, axis=0) / _BLOCKS * (1.0 + 1e-9)
    row, column = np.floor((position - position.min(0)) / size).astype(int).T
    return data._replace(block=row * _BLOCKS + column)


def options_for(config: Config, dataset: Dataset) -> Config:
    """The methods' options for a data set: test pixels may be of another district or year, and
    points have no filtered radar."""
    pixel = config.mogpr_pixel
    if dataset.data.series.radar.shape[-2] == 1 and pixel.inputs == "smooth":
        pixel = replace(pixel, inputs="raw")
    split = "district" if dataset.transfer else "blocks"
    return replace(config, split=split, mogpr_pixel=pixel)


def _split_by(config: Config, data: Data) -> Callable[[int], Split]:
    return lambda seed: split_of(config, data, seed)


def _limits(config: Config) -> tuple[int | None, int | None, int | None]:
    return config.training_pixels, config.validation_pixels, config.test_pixels


def _region(home: Data, config: Config) -> Dataset:
    """Two regions side by side: the pixels of the other are tested, all of them unseen."""
    scene = replace(config.scene, **_OTHER_REGION)
    other, _ = to_data(cube.despeckle(simulated(scene, SCENE_KEY + 1)))
    other = in_blocks(other)
    far = np.asarray(other.series.position) + np.asarray([1e6, 0.0], np.float32)
    series = concatenate([home.series, other.series._replace(position=far)])
    first = len(home.truth)

    def _split(seed: int) -> Split:
        rng = np.random.default_rng(seed)
        validates = np.isin(home.block, rng.permutation(np.unique(home.block))[:3])
        test = first + np.arange(len(other.truth))
        parts = np.flatnonzero(~validates), np.flatnonzero(validates), test
        fold = Fold(*parts, other.block, "other region")
        whole = Split((fold,), ("trained in one simulated region, tested in another",))
        return splits.subsample(whole, _limits(config), seed=seed)

    data = Data(series, np.concatenate([home.truth, other.truth]))
    words = SIMULATED["sim_region"]
    return Dataset("sim_region", words, data, _split, True, tasks=TASKS[:-1])
