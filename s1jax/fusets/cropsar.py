"""`CropSARFusion`: a fusion by patches in the shape of FuseTS' calls."""

import logging
from dataclasses import dataclass, field, replace

import jax
import numpy as np
import xarray as xr

from s1jax import cube as border
from s1jax import networks
from s1jax.cube.names import DIMENSIONS
from s1jax.fusets.dataset import AT, Cube, Result, Source, assembled, opened
from s1jax.fusets.mogpr import Options, listing
from s1jax.masking import with_ndvi_masked
from s1jax.networks import CropsarConfig, CropsarParams, SequenceParams
from s1jax.types import Estimate, Series

log = logging.getLogger("s1jax")

_VARIABLES = ("VV", "VH", "S2ndvi")
PIXEL_M = 10.0
"""Side of a pixel, that of Sentinel, m: fields, which bands count, are ten pixels a side."""
_SHARE = 0.2
"""Of the blocks with a label: those that decide."""
PRETRAINED = (
    "pretrained=True: no patch weights exist; filled by the network that s1jax ships, which sees "
    "each pixel alone and was trained on simulated rice regions: model_type={!r} and "
    "window_size={!r} have no effect"
)
TRAINED = (
    "pretrained=False: {} with window_size={!r}, trained on this Dataset's own NDVI; {} of {} "
    "blocks, {} pixels a side, decided when to stop and how wide the band is"
)


@listing
@dataclass
class CropSARFusion(Options):
    """`fit` trains, `transform` fills, `fit_transform` is both: NDVI without gaps from VV and VH.

    FuseTS never had a class of this name: its CropSAR is a service of openEO, whose networks and
    weights are not public. This class keeps to the call that circulates,
    `CropSARFusion(model_type="AttentionUNet", window_size=5, pretrained=True)`; the model is
    `s1jax.networks.cropsar`, in the manner of CropSAR. Results are not CropSAR's.

    `pretrained=True` needs no label. No patch weights exist, so it uses `s1jax.pretrained()`, a
    network of each pixel's whole series, adapted to the levels of the Dataset's radar; `model_type`
    and `window_size` have no effect then. `pretrained=False` trains the patch model on the
    Dataset's own NDVI, which takes minutes. The log (a warning or an info) and the attribute
    `s1jax_cropsar` of the result say which of the two it was.
    """

    model_type: str = "AttentionUNet"
    """"AttentionUNet", or "GAN": the same network trained against a discriminator too."""
    window_size: int | None = 5
    """Dates seen, the date itself in their middle; odd, at least 3; None: the whole series."""
    pretrained: bool = True
    time_dimension: str = "t"
    """Its name; may be left where only one dimension has dates."""
    seed: int = 0
    """Of the training: first weights, order, and which blocks decide."""
    config: CropsarConfig = field(default_factory=CropsarConfig)
    """Everything else about the patch model."""
    model: CropsarParams | SequenceParams | None = field(default=None, init=False, repr=False)
    """Fitted parameters."""
    message: str = field(default="", init=False, repr=False)
    """How it was fitted, in words."""

    def fit(self, X: Source, y: None = None) -> "CropSARFusion":
        """Itself, trained on VV, VH and S2ndvi of X, or with the shipped network adapted to X.

        X is a Dataset of VV, VH (dB, or linear power with units) and S2ndvi on time, y and x; y is
        nothing, as in FuseTS.

        Raises:
          TypeError: no Dataset; the message says what to pass.
          ValueError: unsound options or Dataset, each by name; without `pretrained` also pixels
            without neighbours, or too few blocks with NDVI.
        """
        options = self._options()
        series, pixel, shape = _read(self._opened(X))
        if self.pretrained:
            self.message = PRETRAINED.format(self.model_type, self.window_size)
            log.warning("CropSARFusion: %s", self.message)
            self.model = networks.adapt(networks.pretrained(), series)
            return self
        key = jax.random.key(self.seed)
        decides, counts = _deciding(series, pixel, 2 * options.patch, shape, self.seed)
        self.message = TRAINED.format(self.model_type, self.window_size, *counts)
        log.info("CropSARFusion: %s", self.message)
        training = with_ndvi_masked(series, decides[:, None])
        self.model = networks.cropsar(options).fit(key, training, series.take(decides))
        return self

    def transform(self, X: Source) -> xr.Dataset:
        """Dataset of S2ndvi_FUSED and S2ndvi_STD on the dates and pixels of X, computed at once.

        S2ndvi_FUSED is the estimate on every date, those with NDVI too; S2ndvi_STD the standard
        deviation of an observation, sqrt(std of the latent NDVI ^ 2 + noise ^ 2), as `mogpr` has
        it. Both are NaN in pixels without any observation; coordinates, CRS and the dtype of S2ndvi
        stay (integers become float32).

        Raises:
          ValueError: `fit` was not called, or an unsound Dataset.
        """
        if self.model is None:
            raise ValueError("transform: got no fit, expected fit before")
        cube = self._opened(X)
        series, pixel, shape = _read(cube)
        days = np.asarray(cube.days(), series.day.dtype)
        if isinstance(self.model, SequenceParams):
            estimate = networks.predict(self.model, series, days)
        else:
            estimate = networks.cropsar(self._options()).predict(self.model, series, days)
        return _result(cube, estimate, pixel, shape, self.message)

    def fit_transform(self, X: Source, y: None = None) -> xr.Dataset:
        """`fit` to X and `transform` of it.

        Raises:
          ValueError: as these.
        """
        return self.fit(X).transform(X)

    def _options(self) -> CropsarConfig:
        if self.model_type not in ("AttentionUNet", "GAN"):
            expected = "'AttentionUNet' or 'GAN'"
            raise ValueError(f"model_type: got {self.model_type!r}, expected {expected}")
        if self.window_size is not None and (self.window_size < 3 or self.window_size % 2 == 0):
            expected = "an odd number of dates >= 3, or None"
            raise ValueError(f"window_size: got {self.window_size}, expected {expected}")
        return replace(self.config, model=self.model_type, window=self.window_size)

    def _opened(self, X: Source) -> Cube:
        cube = opened(X, _VARIABLES, self.time_dimension)
        if len(cube.others) != 2:
            got = (cube.time, *cube.others)
            raise ValueError(f"VV, VH, S2ndvi: got dimensions {got}, expected time, y and x")
        return cube


def _read(cube: Cube) -> tuple[Series, np.ndarray, tuple[int, int]]:
    """Pixels on one grid of dates with filtered radar, their indices in the flat (y, x), its shape.

    `open_cube` repairs fills, units and dates. `position` is east and north on the lattice of the
    Dataset: 10 m a pixel, whatever its CRS.
    """
    source = cube.source
    beside = [name for name in ("mask", "s1_track") if name in source.variables]
    # nothing of the caller's Dataset is loaded in place, and no other variable at all
    ds = source[[*cube.names]].assign({name: source[name] for name in beside}).compute()
    ds = ds if cube.time == "t" else ds.rename({cube.time: "t"})
    ds = border.despeckle(border.align_cube(border.open_cube(ds)))
    series, pixel = border.to_series(ds)
    shape = ds.sizes["y"], ds.sizes["x"]
    row, column = np.divmod(pixel, shape[1])
    cell = np.stack([column, -row], -1)
    return series._replace(position=(PIXEL_M * cell).astype(np.float32)), pixel, shape


def _deciding(
    series: Series, pixel: np.ndarray, side: int, shape: tuple[int, int], seed: int
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Pixels of the blocks that decide; for the message their number, all blocks, pixels a side.

    A block has `side` pixels a side, or a quarter of the map's longer one where that is less.
    """
    if min(shape) == 1:
        raise ValueError(
            f"VV, VH, S2ndvi: got {shape[0]} x {shape[1]} pixels, expected a map: a single row or "
            "column has no neighbours that could be trusted to be near"
        )
    side = max(1, min(side, max(shape) // 4))
    row, column = np.divmod(pixel, shape[1])
    block = (row // side) * (shape[1] // side + 1) + column // side
    labelled = np.unique(block[np.asarray(series.ndvi_valid).any(1)])
    if labelled.size < 3:
        got = f"{labelled.size} blocks of {side} x {side} pixels with any"
        raise ValueError(f"S2ndvi: got {got}, expected at least 3 to train and decide")
    count = max(1, round(_SHARE * labelled.size))
    chosen = np.random.default_rng(seed).permutation(labelled)[:count]
    return np.isin(block, chosen), (count, labelled.size, side)


def _result(
    cube: Cube, estimate: Estimate, pixel: np.ndarray, shape: tuple[int, int], message: str
) -> xr.Dataset:
    """The estimate on the grid, with the coordinates and attributes of the Dataset."""
    source = cube.source["S2ndvi"]
    kind = source.dtype if source.dtype.kind == "f" else np.dtype(np.float32)
    rows = [dim for dim in cube.others if dim == "y" or str(dim).lower() in DIMENSIONS["y"]]
    dims = (AT, *rows, *(dim for dim in cube.others if dim not in rows))
    std = np.hypot(np.asarray(estimate.std), np.asarray(estimate.noise)[:, None])
    words = {"FUSED": "{}, fused", "STD": "standard deviation of an observation of {}"}
    kept = {key: v for key, v in source.attrs.items() if key in ("units", "grid_mapping")}
    results = []
    for (suffix, name), value in zip(words.items(), (np.asarray(estimate.mean), std), strict=True):
        image = np.full((value.shape[1], shape[0] * shape[1]), np.nan, kind)
        image[:, pixel] = value.T
        attrs = kept | {"long_name": name.format(source.attrs.get("long_name", "S2ndvi"))}
        variable = xr.Variable(dims, image.reshape(-1, *shape), attrs)
        results.append(Result(f"S2ndvi_{suffix}", "S2ndvi", variable))
    return assembled(cube, None, results).assign_attrs(s1jax_cropsar=message)
