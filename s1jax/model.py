"""A fitted method and a cube: `fit`, `fill`, `save` and `load`.

model = fit(open_cube("cube.nc"), "mogpr")
filled = fill(open_cube("cube.nc"), model, to="ndvi.zarr")
"""

import dataclasses
import logging
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import numpy as np
import xarray as xr

from s1jax import arrays, cards, cube, files, mogpr, networks, regions, saving
from s1jax.estimators import Calibration
from s1jax.extrapolation import Level
from s1jax.fusets.dataset import dates
from s1jax.methods import METHODS, method_of
from s1jax.types import Days, Estimate, Estimator, Params, Series

log = logging.getLogger("s1jax")
SIZES = (3, 7)
"""Sides of the squares of the speckle filter, pixels: looks 1 and 2 of a Series."""
NAMES = {
    "S2ndvi_FUSED": "ndvi",
    "S2ndvi_STD": "ndvi_std",
    "S2ndvi_NOISE": "ndvi_noise",
    "S2ndvi_SOURCE": "source",
    "S2ndvi_QUALITY": "quality",
}
"""Variables of a filled cube, by their name in `cube.to_product`."""
CARD, VERSION = "model.json", 1
_LARGEST = 2**31
"""Bytes of the arrays of a yardstick, at most."""


class Model(NamedTuple):
    """A method with its parameters, fitted to a cube."""

    name: str
    """Name in `methods.METHODS`; "custom" of an Estimator of one's own."""
    estimator: Estimator
    params: Params
    options: Any = None
    """Options of the method, a frozen dataclass; None: it has none."""
    trained_on: str = "not stated"

    def predict(self, series: Series, days: Days) -> Estimate:
        """Estimate of the NDVI of many pixels on the query days."""
        return self.estimator.predict(self.params, series, days)


def fit(
    ds: xr.Dataset,
    method: str | Estimator = "mogpr",
    *,
    options: Any = None,
    seed: int = 0,
) -> Model:
    """The method fitted to a sample of a cube's pixels; blocks of their own validate it.

    The sample is some 4,000 pixels in small squares spread over the cube, a quarter of them in
    1 km cells without training pixels. A spatial method sees larger squares.

    Args:
      ds: cube of `open_cube`; aligned here where it is not.
      method: name in `methods.METHODS`, or an Estimator.
      options: of the named method, instead of its defaults.
      seed: of all that the fit draws.

    Raises:
      ValueError: no such method, options of another one, or too few pixels or labels to fit it.
    """
    ds = _aligned(ds)
    name, entry = "custom", None
    if isinstance(method, str):
        name, entry = method, method_of(method)
        options = entry.options if options is None else options
        if not isinstance(options, type(entry.options)):
            got, expected = type(options).__name__, type(entry.options).__name__
            raise ValueError(f"options: got {got}, expected {expected} for {method}")
        method = entry.make(options)
    key, sizes = jax.random.key(seed), _sizes(ds)
    if name == "shipped":
        # no label is used: all pixels set the levels of the radar
        series = regions.sample_all(ds, sizes=sizes)
        trained_on = networks.about_pretrained()["trained_on"]
        return Model(name, method, method.fit(key, series, series), options, trained_on)
    side = 2 * options.patch if entry is not None and entry.spatial else regions.SQUARE
    training, validation = regions.sample(ds, sizes=sizes, side=side)
    pixels = len(training.ndvi) + len(validation.ndvi)
    title = ds.attrs.get("title") or ds.attrs.get("s1jax_source") or "a cube"
    params = method.fit(key, training, validation)
    return Model(name, method, params, options, f"{pixels:,} pixels of {title}")


def fill(
    ds: xr.Dataset,
    model: Model | str = "auto",
    *,
    days: str | Sequence | np.ndarray | None = None,
    to: str | Path | None = None,
    tile: int = 256,
) -> xr.Dataset:
    """Cloud-free NDVI of every pixel of a cube, with its standard deviation.

    Variables: `ndvi`, `ndvi_std`, `ndvi_noise` (of a label about the NDVI), `source` (1 clear that
    day, 2 between clear days, 3 outside of them, 4 none clear) and `quality` (0 is good).
    The band mean +- 1.645 std holds 90 % of the NDVI. Memory does not grow with the region where
    `to` is given and the cube is lazy and aligned: alignment reads the whole cube.

    Args:
      ds: cube of `open_cube`; aligned here where it is not.
      model: of `fit` or `load`; "auto": the shipped weights, which know simulated rice alone.
      days: query dates (`datetime64` or ISO strings), or a period such as "P5D" between the first
        and the last date; None: the cube's own dates.
      to: store (.zarr) or file (.nc) that is written tile by tile; None: the result is in memory.
      tile: rows and columns of a tile.

    Returns:
      The product; with `to`, the opened store. attrs["failed_tiles"] lists tiles without estimate.

    Raises:
      ValueError: a model that is none, days that do not ascend, or, in memory, a tile that failed.
      OSError: the file cannot be written.
    """
    ds = _aligned(ds)
    if isinstance(model, str):
        if model != "auto":
            got = f"{model!r} ({'a method: call fit' if model in METHODS else 'no method'})"
            raise ValueError(f"model: got {got}, expected 'auto' or a Model of fit or load")
        model = fit(ds, "shipped")
    summary = regions.map_region(
        model.predict,
        ds,
        to,
        tile=tile,
        days=None if days is None else _days(ds, days),
        smooth=_sizes(ds),
        names=NAMES,
        method=f"s1jax.fill, {model.name}",
        weights=networks.about_pretrained()["weights"] if model.name == "shipped" else None,
        trained_on=model.trained_on,
    )
    if to is None:
        if summary.failed:
            raise ValueError(f"{len(summary.failed)} tile(s) failed: {summary.failed[0]}")
        return cast(xr.Dataset, summary.product)
    path = Path(to)
    if summary.failed:
        log.error("%s: %d tile(s) failed, attrs['failed_tiles']", path, len(summary.failed))
    engine = {"engine": "zarr", "chunks": {}} if path.suffix == ".zarr" else {}
    return xr.open_dataset(path, decode_coords="all", **engine)


def save(model: Model, folder: str | Path) -> None:
    """Write a model to a folder: `model.json` and the arrays of its parameters.

    What an earlier call wrote there stays until the new model is whole and on the disk.

    Raises:
      ValueError: an Estimator of one's own, a method whose parameters are no arrays (`boosting`),
        or a folder that holds other files.
    """
    files.refuse_remote(folder)
    if method_of(model.name).params is None:
        raise ValueError(f"model: got {model.name}, whose parameters cannot be saved as arrays")
    folder = Path(os.path.realpath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing_folder(folder, refuse_other=_refuse_other) as part:
        card = {
            "kind": "model",
            "version": VERSION,
            "method": model.name,
            "options": None if model.options is None else dataclasses.asdict(model.options),
            "trained_on": model.trained_on,
            "s1jax": version("s1jax"),
        }
        _save_part(model.params, part, "params")
        files.write_json(part / CARD, card)


def load(folder: str | Path) -> Model:
    """The model that `save` wrote.

    Raises:
      ValueError: no such folder, an unknown version, or files that are damaged or of another
        method; the message names file and field.
    """
    folder = Path(folder)
    path = folder / CARD
    if not path.is_file():
        raise ValueError(f"model: got no {path}, expected the folder that s1jax.save wrote")
    card = cards.read(path)
    if card.get("version") != VERSION or card.get("kind") != "model":
        got = f"{card.get('kind')!r}, version {card.get('version')!r}"[:100]
        raise ValueError(f"{path}: got {got}, expected a model of version {VERSION}")
    name, trained_on = card.get("method"), card.get("trained_on")
    if not (isinstance(name, str) and isinstance(trained_on, str)):
        raise ValueError(f"{path}: method, trained_on: got {name!r}, {trained_on!r}, expected text")
    method = method_of(name)
    options = method.options
    if options is not None:
        options = cards.build(path, "options", card.get("options"), type(options))
    params = _load_part(method.params, folder, "params")
    return Model(name, method.make(options), params, options, trained_on)


def _save_part(params: Params, folder: Path, name: str) -> None:
    """Write the parameters of a method, those of its parts under longer names."""
    if isinstance(params, mogpr.MogprParams):
        mogpr.save(params, folder / f"{name}.npz")
    elif any(isinstance(params, kind.params) for kind in saving.KINDS.values()):
        saving.save(params, folder / name)
    else:
        fields = params._asdict() if hasattr(params, "_asdict") else dict(enumerate(params))
        values = {}
        for key, value in fields.items():
            if isinstance(value, Calibration | Level):
                values |= {f"{key}.{k}": np.asarray(v) for k, v in value._asdict().items()}
            elif isinstance(value, int | float | np.ndarray | jax.Array):
                values[str(key)] = np.asarray(value)
            else:
                _save_part(value, folder, f"{name}-{key}")
        if values:
            arrays.write(folder / f"{name}.npz", values)


def _load_part(outline: Any, folder: Path, name: str) -> Params:
    """Parameters of the classes that `outline` names (`methods.Method.params`)."""
    kind, *parts = outline if isinstance(outline, tuple) else (outline,)
    if kind is mogpr.MogprParams:
        return mogpr.load(folder / f"{name}.npz")
    if any(kind is other.params for other in saving.KINDS.values()):
        params = saving.load(folder / name)
        if not isinstance(params, kind):
            got, expected = type(params).__name__, kind.__name__
            raise ValueError(f"{folder / name}: got {got}, expected {expected}")
        return params
    if kind is tuple:
        return tuple(_load_part(p, folder, f"{name}-{k}") for k, p in enumerate(parts))
    remaining = iter(parts)
    hints, fields = kind.__annotations__, {}
    nested = [key for key, hint in hints.items() if hint is Params]
    for key in nested:
        fields[key] = _load_part(next(remaining), folder, f"{name}-{key}")
    if set(hints) - set(nested):
        fields |= _values(folder / f"{name}.npz", kind, [key for key in hints if key not in nested])
    return kind(**fields)


def _values(path: Path, kind: type, names: Sequence[str]) -> dict[str, Any]:
    """Fields that are arrays, numbers, a Calibration or a Level."""
    stored = arrays.read(path, limit=_LARGEST)
    grouped = {"calibration": Calibration, "level": Level}
    expected = [
        f"{name}.{field}" if name in grouped else name
        for name in names
        for field in (grouped[name]._fields if name in grouped else (None,))
    ]
    if sorted(stored) != sorted(expected):
        raise ValueError(f"{path}: got {sorted(stored)}, expected {sorted(expected)}")
    for name, value in stored.items():
        if value.dtype.kind not in "fiu" or (name != "ndvi" and not np.isfinite(value).all()):
            raise ValueError(f"{path}: {name}: got {value.dtype}, expected finite numbers")
    fields = {}
    for name in names:
        if name in grouped:
            of = grouped[name]
            fields[name] = of(*(stored[f"{name}.{field}"] for field in of._fields))
        else:
            value = stored[name]
            fields[name] = value.item() if kind.__annotations__[name] is float else value
    return fields


def _refuse_other(folder: Path) -> None:
    """Refuse a folder that holds more than `save` writes."""
    if not os.path.lexists(folder):
        return
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else [folder.name]
    if other := [name for name in names if name != CARD and not name.startswith("params")]:
        raise ValueError(f"{folder}: got {other[0]}, expected a new folder or that of a model")


def _aligned(ds: xr.Dataset) -> xr.Dataset:
    return ds if {"s1_day", "s2_day"} <= set(ds.coords) else cube.align_cube(ds)


def _sizes(ds: xr.Dataset) -> tuple[int, ...]:
    """Sizes of the speckle filter; none where the cube is filtered or has no neighbours."""
    filtered = any(str(name).endswith("_smooth") for name in ds.data_vars)
    return () if filtered or min(ds.sizes["y"], ds.sizes["x"]) == 1 else SIZES


def regular_days(t: np.ndarray, period: str, *, option: str = "days") -> Days:
    """Days since 1970-01-01 from the first date of `t` to the last, an ISO 8601 period apart.

    Raises:
      ValueError: no such period; the message names the `option`.
    """
    try:
        return cube.to_days(dates(t[0], t[-1], period))
    except ValueError as error:
        expected = "the days of the input, or a period such as P5D, P1W, P1M"
        raise ValueError(f"{option}: got {period!r}, expected {expected}") from error


def _days(ds: xr.Dataset, days: str | Sequence | np.ndarray) -> Days:
    """Query days since 1970-01-01."""
    if isinstance(days, str):
        return regular_days(ds["t"].values, days)
    array = np.asarray(days)
    if array.dtype.kind in "iuf":
        return array.astype(np.float64)
    try:
        return cube.to_days(array.astype("datetime64[ns]"))
    except (ValueError, TypeError) as error:
        raise ValueError(f"days: got {days!r}, expected ISO dates or a period") from error
