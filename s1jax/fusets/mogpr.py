"""`mogpr`, `mogpr_1D` and `MOGPRTransformer` with the signatures of FuseTS."""

import functools
import inspect
import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from s1jax import gp
from s1jax.batching import refuse_forked
from s1jax.fusets import compat as shipped
from s1jax.fusets.dataset import (
    Cube,
    Period,
    Source,
    cleaned,
    dates,
    fused,
    listed,
    opened,
    parse,
    sample,
)
from s1jax.mogpr import MogprParams, load
from s1jax.mogpr.estimator import evenly
from s1jax.mogpr.inputs import standardise_pixels
from s1jax.mogpr.posterior import posterior_of_outputs
from s1jax.quality import EMPTY, NO_DATA, REGION_HYPER, REGION_SCALE
from s1jax.types import Estimate

log = logging.getLogger("s1jax")

_SAMPLE = 256
"""Most pixels that hyperparameters are fitted on."""
INDUCING = 20
"""Inducing days of the sparse method where no number is given."""
UNKNOWN = 1.0
"""The scale of a variable that does not vary over the sample, or has no data."""
_CHUNK = 2048

_F = TypeVar("_F", bound=Callable)
_STEP = np.timedelta64(5, "D")
"""Between the dates of FuseTS' `transform`."""
_ROWS = 32
"""The dates of one pixel are padded to multiples of this: fewer programs to compile."""


def listing(function: _F) -> _F:
    """`function`, or a class, whose TypeError for an unknown keyword lists the valid ones."""
    if isinstance(function, type):
        function.__init__ = listing(function.__init__)
        return function  # pyright: ignore[reportReturnType] (narrowed to type)
    name = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]
    valid = [name for name in inspect.signature(function).parameters if name != "self"]

    @functools.wraps(function)
    def _call(*args, **kwargs):
        refuse(name, kwargs, valid)
        return function(*args, **kwargs)

    return _call  # pyright: ignore[reportReturnType]


def refuse(name: str, given: dict, valid: list[str]) -> None:
    """Refuse keywords that are not valid (TypeError naming them and the valid ones)."""
    if unknown := ", ".join(keyword for keyword in given if keyword not in valid):
        raise TypeError(f"{name}() got unknown keyword(s) {unknown}; valid are {', '.join(valid)}")


@dataclass
class Options:
    """Dataclass whose options scikit-learn can read and set."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options by name; `deep` changes nothing, as none holds another estimator."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    def set_params(self, **params: Any) -> "Options":
        """Itself with these options; what was fitted stays until the next `fit`.

        Raises:
          ValueError: no such option; nothing is set.
        """
        valid = list(self.get_params())
        if unknown := ", ".join(keyword for keyword in params if keyword not in valid):
            got = f"{type(self).__name__}: got {unknown}"
            raise ValueError(f"{got}, expected some of {', '.join(valid)}")
        for keyword, value in params.items():
            setattr(self, keyword, value)
        return self


@listing
def mogpr(
    array: Source,
    variables: Iterable[Hashable] | Hashable | None = None,
    time_dimension: Hashable = "t",
    prediction_period: Period | None = None,
    include_uncertainties: bool = False,
    include_raw_inputs: bool = False,
    *,
    include_quality: bool = False,
    hyper: str | Path | gp.Hyper = "region",
    latents: int | None = None,
    solver: str = "kalman",
    method: str | None = None,
    n_inducing: int | None = None,
    optimize: bool = True,
    compat: str | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Dataset of <v>_FUSED of all variables, then <v>_STD, then <v>_RAW: all series, without gaps.

    One Gaussian process per pixel fills each variable's gaps from all variables: a linear model of
    coregionalisation with Matern-3/2 latents. Dimensions, coordinates, CRS and dtype stay (integers
    become float32, wider ones float64), and so do variables without a time. Chunks stay lazy, with
    the same result to the last bit. NaN, +-inf, declared fills, -9999, -32768 and sizes from 1e30
    on are missing values; the attribute `s1jax_dropped` (arrays in memory) and the log count those
    that are no NaN. A variable without any observation in a pixel is NaN there; the others are
    fused. One that varies neither in the pixel nor in the region stays at its value.

    Args:
      array: an `xr.Dataset`, of any dimensions besides time; values in any unit.
      variables: names, of whatever type; None: all numeric ones that have a time. The order is that
        of the Dataset, as in FuseTS.
      time_dimension: its name; may be left where only one dimension has dates.
      prediction_period: between the dates of the result, from the first to the last of the input:
        ISO-8601 (P5D, P1W, P1M for calendar months), as pandas has it (5D, 5 days, 120h, 1.5D), or
        an object of datetime, NumPy or pandas. None: the dates of the input.
      include_uncertainties: also <v>_STD, the standard deviation of an observation (sqrt of latent
        variance plus noise variance) in units of v.
      include_raw_inputs: also <v>_RAW, the observations. With a prediction period the result has
        its dates and all those of the input, as in FuseTS: <v>_FUSED and <v>_STD are NaN on dates
        of the input alone, <v>_RAW on the others.
      include_quality: also QUALITY, bit flags of each pixel.
      hyper: hyperparameters: "region", fitted once on at most 256 pixels spread evenly over the
        array; "pixel", a fit for each around those; `gp.Hyper` on z-scored variables in the order
        of the Dataset; or a .npz file of `s1jax.mogpr.save`.
      latents: latent processes; None: as many as variables, FuseTS' model; 1: intrinsic, faster.
      solver: "kalman" or "dense"; the numbers are the same.
      method: None or "exact"; "sparse": approximated by inducing days.
      n_inducing: their number, 20 where None.
      optimize: False: nothing is fitted; the hyperparameters are a fit's start (length scales of 30
        to 120 days).
      compat: "fusets": its own fit, numbers and "std" (`s1jax.fusets.compat`), slowly.
      seed: of the random start of that fit.

    Raises:
      ValueError: names, dates, period or options that do not exist or contradict, each by name.
      TypeError: no Dataset, and the message says what to pass; or an unknown keyword, and it lists
        the valid ones.
    """
    transformer = MOGPRTransformer(
        variables, time_dimension, prediction_period, include_uncertainties, include_raw_inputs,
        include_quality=include_quality, hyper=hyper, latents=latents, solver=solver,
        method=method, n_inducing=n_inducing, optimize=optimize, compat=compat, seed=seed,
    )  # fmt: skip
    return transformer.fit_transform(array)


@listing
@dataclass
class MOGPRTransformer(Options):
    """`fit` fits a region's hyperparameters, `transform` fuses by them, `fit_transform` is both.

    Fitted on a region, or a part that stands for it, and then applied tile by tile, it gives the
    same as on the whole at once. `fit_transform` of each tile fits each anew, as FuseTS fits each
    pixel: it is slower, and the tiles do not quite match at their edges. The fields: see `mogpr`.

    With `compat="fusets"`, `fit_transform` is `mogpr`, and `transform` has the names and dates of
    FuseTS' own: the means alone, named as the variables, at midnight of the first day and of every
    fifth day after it, before the last. Each pixel is fitted on its own there too. (FuseTS meant to
    hold the parameters of the first pixel; with GPy 1.15 its `transform` after `fit` is all NaN.)
    """

    variables: Iterable[Hashable] | Hashable | None = None
    time_dimension: Hashable = "t"
    prediction_period: Period | None = None
    include_uncertainties: bool = False
    include_raw_inputs: bool = False
    _: KW_ONLY
    include_quality: bool = False
    hyper: str | Path | gp.Hyper = "region"
    latents: int | None = None
    solver: str = "kalman"
    method: str | None = None
    n_inducing: int | None = None
    optimize: bool = True
    compat: str | None = None
    seed: int = 0
    model: MogprParams | None = field(default=None, init=False, repr=False)
    """Fitted parameters; `s1jax.mogpr.save(model, path)` keeps them for `hyper=path`."""
    names: tuple[Hashable, ...] = field(default=(), init=False, repr=False)
    """The variables it was fitted on."""

    def fit(self, X: Source, y: None = None) -> "MOGPRTransformer":
        """Itself, with hyperparameters and scales fitted to the variables of X.

        `y` is nothing, as in FuseTS.

        Raises:
          TypeError, ValueError: as `mogpr`.
        """
        self._check()
        cube = self._opened(X)
        self.names, self.model = cube.names, None
        if self.compat is None:
            options = {"latents": self.latents, "optimize": self.optimize}
            self.model = fit_scales(*sample(cube), self.hyper, **options)
        return self

    def transform(self, X: Source) -> xr.Dataset:
        """X fused by the fitted parameters, as `mogpr` returns it; with `compat`, as FuseTS does.

        Raises:
          TypeError: no Dataset; the message says what to pass.
          ValueError: `fit` was not called, or with other variables; or options that FuseTS'
            `transform` lacks, with `compat`.
        """
        cube = self._opened(X)
        if cube.names != self.names and (self.names or self.compat is None):
            got = f"{cube.names}, fitted on {self.names}" if self.names else "no fit"
            raise ValueError(f"transform: got {got}, expected fit with the same variables before")
        if self.compat is None:
            return self._fused(cube)
        estimate = partial(shipped.fuse, seed=self.seed)
        return fused(cube, estimate, self._every_fifth(cube), bare=True)

    def fit_transform(self, X: Source, y: None = None, **options) -> xr.Dataset:
        """`fit` to X and `transform` of it; `options` replace those of the constructor this once.

        Raises:
          TypeError: an unknown option; the message lists the valid ones.
        """
        refuse("fit_transform", options, [f.name for f in fields(self) if f.init])
        once = replace(self, **options).fit(X)
        self.model, self.names = once.model, once.names
        return once._fused(once._opened(X))

    def _check(self) -> None:
        """Refuse an option that does not exist, or that contradicts another."""

        def _require(condition, name, expected):
            if not condition:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected {expected}")

        refuse_forked()
        given, hyper = self._given(), self.hyper
        file = isinstance(hyper, str | Path) and Path(hyper).suffix == ".npz"
        sound = not given or file or isinstance(hyper, gp.Hyper)
        _require(sound, "hyper", "'region', 'pixel', gp.Hyper or a .npz file")
        _require(self.solver in gp.SOLVERS, "solver", f"one of {sorted(gp.SOLVERS)}")
        _require(self.latents is None or self.latents >= 1, "latents", "1 or more, or None")
        sparse = self.method == "sparse"
        _require(sparse or self.method in (None, "exact"), "method", "None, 'exact' or 'sparse'")
        if self.n_inducing is not None:
            _require(sparse, "n_inducing", "method='sparse' with it")
            _require(self.n_inducing >= 2, "n_inducing", "at least 2 days")
        _require(not sparse or self.solver == "kalman", "solver", "none beside method='sparse'")
        fitted = given or hyper == "region" or self.optimize
        _require(fitted, "optimize", "True with hyper='pixel', which is a fit")
        _require(self.compat in (None, "fusets"), "compat", "None or 'fusets'")
        names = ("hyper", "latents", "solver", "method", "n_inducing", "optimize")
        plain = MOGPRTransformer()
        if self.compat and any(getattr(self, name) != getattr(plain, name) for name in names):
            raise ValueError(
                f"compat: got 'fusets' with another of {', '.join(names)}; expected seed alone, "
                "as it is FuseTS' own fit"
            )

    def _given(self) -> bool:
        """Whether the hyperparameters are given, not fitted."""
        return isinstance(self.hyper, gp.Hyper) or self.hyper not in ("region", "pixel")

    def _solved(self, model: MogprParams | None) -> MogprParams:
        if model is None:
            raise ValueError("transform: got no fit, expected fit with these options before")
        inducing = (self.n_inducing or INDUCING) if self.method == "sparse" else None
        return replace(model, solver=self.solver, inducing=inducing)

    def _opened(self, array: Source) -> Cube:
        if self.prediction_period is not None:
            parse(self.prediction_period)
        cube = opened(array, self.variables, self.time_dimension)
        named = cube.names if self.variables is None else tuple(listed(self.variables))
        if self._given() and cube.names != named:
            expected = f"the Dataset's order {cube.names}, which is that of the hyperparameters"
            raise ValueError(f"variables: got {named} beside hyper, expected {expected}")
        return cube

    def _every_fifth(self, cube: Cube) -> np.ndarray:
        """Dates of FuseTS' `transform`."""
        more = self.include_uncertainties, self.include_raw_inputs, self.include_quality
        if self.prediction_period is not None or any(more):
            raise ValueError(
                "transform: got prediction_period, include_uncertainties, include_raw_inputs or "
                "include_quality with compat='fusets', expected none of them, as FuseTS' transform "
                "has none; fit_transform takes them"
            )
        days = cube.dates().astype("datetime64[D]")
        every = np.arange(days.min(), days.max(), _STEP)
        if every.size == 0:
            got = f"{days.min()} to {days.max()}"
            raise ValueError(f"transform: got dates {got}, expected two days or more with compat")
        return every.astype("datetime64[ns]")

    def _fused(self, cube: Cube) -> xr.Dataset:
        observed, period = cube.dates(), self.prediction_period
        at = None if period is None else dates(observed.min(), observed.max(), period)
        estimate = partial(shipped.fuse, seed=self.seed)
        if self.compat is None:
            self._check()
            estimate = partial(fuse, self._solved(self.model))
        return fused(
            cube,
            estimate,
            at,
            uncertainties=self.include_uncertainties,
            raw=self.include_raw_inputs,
            quality=self.include_quality,
        )


@listing
def mogpr_1D(
    data_in: Sequence[Sequence[float] | np.ndarray],
    time_in: Sequence[Sequence[float] | np.ndarray],
    master_ind: int,
    output_timevec: Sequence[float] | np.ndarray,
    nt: int = 1,
    trained_model: MogprParams | None = None,
    *,
    hyper: str | Path | gp.Hyper = "region",
    latents: int | None = None,
    solver: str = "kalman",
    compat: str | None = None,
    seed: int = 0,
) -> tuple[list[np.ndarray], list[np.ndarray], bool, MogprParams | None]:
    """Means, standard deviations, quality and model of one pixel: lists with an array a variable.

    The quality is True where every variable was fused. The model, given back as `trained_model`,
    saves the fit. For many pixels use `mogpr`, which takes all in one call.

    Args:
      data_in: values of each variable, NaN where missing.
      time_in: days of each (ordinals), which need not be the same.
      master_ind: the variable without which FuseTS fuses nothing; only `compat` uses it.
      output_timevec: days to estimate on, counted the same.
      nt: how often FuseTS fits from random starts; nothing is random here, so one fit serves.
      trained_model: hyperparameters and scales to use instead of a fit.
      hyper, latents, solver, seed: as of `mogpr`.
      compat: as of `mogpr`; no model is returned then.

    Raises:
      ValueError: lists or arrays that do not match, or `master_ind` is not one of them.
      RuntimeError: in a process that was forked after its parent used JAX.
    """
    refuse_forked()
    data_in, time_in = ([np.asarray(one) for one in each] for each in (data_in, time_in))
    lengths = [(len(v), len(t)) for v, t in zip(data_in, time_in, strict=True)]
    if any(a != b for a, b in lengths) or sum(map(sum, lengths)) == 0:
        raise ValueError(f"time_in: got lengths (data, time) {lengths}, expected equal ones, > 0")
    if not 0 <= master_ind < len(data_in) or nt < 1:
        got = f"master_ind {master_ind}, nt {nt}"
        raise ValueError(f"got {got}, expected one of {len(data_in)} variables and 1 or more")
    at = np.asarray(output_timevec, float)
    if at.size == 0 or not all(np.isfinite(days).all() for days in (*time_in, at)):
        got = f"{at.size} days to estimate on, or days that are no numbers"
        raise ValueError(f"time_in, output_timevec: got {got}, expected one or more, all numbers")
    options = MOGPRTransformer(
        hyper=hyper, latents=latents, solver=solver, compat=compat, seed=seed
    )
    options._check()
    if compat and (nt != 1 or trained_model is not None):
        raise ValueError("compat: got 'fusets' with nt or trained_model, expected neither")
    day, value = _rows(data_in, time_in)
    model = None
    if compat:
        estimate = shipped.fuse(day, value, at, seed=seed, master=master_ind)
    else:
        model = trained_model or fit_scales(day, value, hyper, latents=latents)
        estimate = _padded(options._solved(model), day, value, at)
    mean = list(estimate.mean[0])
    std = list(np.hypot(estimate.std, estimate.noise[..., None])[0])
    return mean, std, bool(np.isfinite(mean).all()), model


def _rows(data_in, time_in) -> tuple[np.ndarray, np.ndarray]:
    """Days, ascending, and values (1, row, output): one row a day, more where a series doubles it.

    Empty rows on the last day follow.
    """
    columns = {}
    for output, (series, time) in enumerate(zip(data_in, time_in, strict=True)):
        again = pd.Series(time).groupby(time).cumcount()
        index = pd.MultiIndex.from_arrays([time.astype(float), again])
        columns[output] = pd.Series(cleaned(series[None], [])[0][0], index)
    table = pd.DataFrame(columns).sort_index()
    more = (0, -len(table) % _ROWS)
    day = np.pad(table.index.get_level_values(0).to_numpy(), more, mode="edge")
    return day, np.pad(table.to_numpy(), (more, (0, 0)), constant_values=np.nan)[None]


def _padded(model: MogprParams, day: np.ndarray, value: np.ndarray, at: np.ndarray) -> Estimate:
    """`fuse` with query days up to a whole number of rows."""
    estimate = fuse(model, day, value, np.pad(at, (0, -at.size % _ROWS), mode="edge"))
    mean, std = (leaf[..., : at.size].copy() for leaf in (estimate.mean, estimate.std))
    return estimate._replace(mean=mean, std=std)


def fit_scales(
    day: Float[np.ndarray, "time"],
    value: Float[np.ndarray, "pixel time output"],
    hyper: str | Path | gp.Hyper = "region",
    *,
    latents: int | None = None,
    optimize: bool = True,
) -> MogprParams:
    """Scale of each variable over a sample, and hyperparameters fitted on it, given or read.

    Without any data, and with `optimize=False`, the hyperparameters are those that a fit starts
    from (length scale 60 days, or 30 to 120).

    Args:
      day: days, ascending.
      value: a sample of the pixels, physical units, NaN where missing.
      hyper, latents, optimize: as of `mogpr`.

    Raises:
      ValueError: given hyperparameters are not of as many outputs as there are variables, or a
        file's were fitted less a regional curve or to other inputs.
    """
    outputs = value.shape[-1]
    given = isinstance(hyper, gp.Hyper)
    if not given and hyper not in ("region", "pixel"):
        return _read(hyper, outputs, latents)
    valid, dtype = np.isfinite(value), jnp.zeros(0).dtype
    start = hyper if given else gp.initial(latents or outputs, outputs)
    _check_outputs(start, outputs, latents)
    params = MogprParams(
        jax.tree.map(lambda leaf: np.asarray(leaf, dtype), start),
        *moments(value),
        _inputs(outputs),
        std_factor=np.ones((), dtype),
        scale_by_pixel=True,
    )
    if given or not optimize:
        return params
    if not valid.any():
        log.warning("no data in the sample of %d pixels: nothing is fitted", len(value))
        return params
    some = evenly(len(value), _SAMPLE)
    unit = np.zeros(outputs, dtype), np.ones(outputs, dtype)
    z = standardise_pixels(
        _relative(params, value[some]), valid[some], *unit, by_pixel=True, furthest=np.inf
    )
    sample = gp.Observations(day.astype(dtype), np.asarray(z.value), valid[some])
    params = replace(params, hyper=gp.fit(sample, params.hyper))
    if hyper == "pixel":
        params = replace(params, prior=gp.prior(sample, params.hyper))
    return jax.tree.map(np.asarray, params)


def _check_outputs(hyper: gp.Hyper, outputs: int, latents: int | None) -> None:
    """Refuse other numbers of outputs or latents than given hyperparameters have (ValueError)."""
    if np.shape(hyper.noise) != (outputs,):
        got = f"{np.size(hyper.noise)} outputs"
        raise ValueError(f"hyper: got {got}, expected {outputs}, one for each variable")
    if latents not in (None, len(hyper.mixing)):
        expected = f"its {len(hyper.mixing)} or None"
        raise ValueError(f"latents: got {latents} beside hyper, expected {expected}")


def _read(path: str | Path, outputs: int, latents: int | None) -> MogprParams:
    params = load(path)
    _check_outputs(params.hyper, outputs, latents)
    if params.curve is not None:
        raise ValueError(f"hyper: got {path} fitted less a regional curve, expected mean='zero'")
    if params.inputs != _inputs(outputs):
        raise ValueError(
            f"hyper: got {path} of looks and channels {params.inputs}, expected those as "
            "observed of the first orbit and NDVI last, which the variables are taken as"
        )
    return jax.tree.map(np.asarray, params)


def _inputs(outputs: int) -> tuple[tuple[int, int], ...]:
    """The variables as radar channels, the last as NDVI."""
    return tuple((0, channel) for channel in range(outputs - 1))


def moments(
    value: Float[np.ndarray, "pixel time output"],
) -> tuple[Float[np.ndarray, "output"], Float[np.ndarray, "output"]]:
    """Mean and standard deviation of each variable without far outliers; 0 and 1 without data.

    Values further from the middle 90 % than three times their width are left out: one absurd
    number must not set the scale of all pixels. A variable that does not vary has scale `UNKNOWN`.
    """
    mean, std = np.zeros(value.shape[-1]), np.full(value.shape[-1], UNKNOWN)
    for output in range(mean.size):
        seen = value[..., output][np.isfinite(value[..., output])]
        if seen.size == 0:
            continue
        low, high = np.quantile(seen, (0.05, 0.95))
        reach = 3.0 * (high - low)
        kept = seen[(seen >= low - reach) & (seen <= high + reach)]
        mean[output] = kept.mean()
        if high > low:
            std[output] = kept.std()
    return mean, std


def _relative(
    params: MogprParams, value: Float[np.ndarray, "pixel time output"]
) -> Float[np.ndarray, "pixel time output"]:
    """(value - mean) / std of the region, 0 where missing, in JAX's default precision.

    Subtracted in double precision, so that an offset far larger than the variation costs nothing.
    """
    mean, std = (np.asarray(leaf, float) for leaf in (params.region_mean, params.region_std))
    return np.where(np.isfinite(value), (value - mean) / std, 0.0).astype(jnp.zeros(0).dtype)


def fuse(
    params: MogprParams,
    day: Float[np.ndarray, "time"],
    value: Float[np.ndarray, "pixel time output"],
    at: Float[np.ndarray, "query"] | None,
) -> Estimate:
    """Posterior of every variable on the days `at`: (pixel, output, query), physical units.

    Each variable of a pixel is z-scored over its own observations, or in the region's scale where
    it has fewer than five or does not vary; where it does not vary in the region either, its mean
    stays within its own values. A variable is NaN where the pixel has no observation of it.

    `day` and `at` (None: `day`) may be in any order, and a day may be there twice. A value is NaN
    where missing.
    """
    outputs, dtype = value.shape[-1], jnp.zeros(0).dtype
    order = np.argsort(day, kind="stable")
    first, seen, z = day[order[0]], np.isfinite(value), _relative(params, value)
    observations = gp.Observations(day[order] - first, z[:, order], seen[:, order])
    unit = replace(
        jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params),
        region_mean=jnp.zeros(outputs, dtype),
        region_std=jnp.ones(outputs, dtype),
    )
    days = (day if at is None else at) - first
    estimate = posterior_of_outputs(
        unit, observations, days, outputs=tuple(range(outputs)), furthest=np.inf, chunk=_CHUNK
    )
    # back in double precision, for offsets far larger than the variation
    scale, level = (
        np.asarray(leaf, float)[None, :, None] for leaf in (params.region_std, params.region_mean)
    )
    mean = _within(params, value, estimate.region_scale, estimate.mean * scale + level)
    there = seen.any(axis=1)
    mean, std = (np.where(there[:, :, None], leaf, np.nan) for leaf in (mean, estimate.std * scale))
    lost = (~np.isfinite(mean + std) & there[:, :, None]).any(axis=(1, 2)).sum()
    if lost:
        log.warning("mogpr: results of %d pixels are not finite", lost)
    quality = (
        REGION_SCALE * np.any(estimate.region_scale & there, axis=1)
        + NO_DATA * ~np.any(there, axis=1)
        + REGION_HYPER * estimate.region_hyper
        + EMPTY * ~np.all(there, axis=1)
    )
    return Estimate(mean, std, estimate.noise * scale[..., 0], quality.astype(np.uint8))


def _within(params: MogprParams, value, region_scale, mean):
    """The mean, within the values seen where the scale of a variable is `UNKNOWN`.

    Nothing relates the variation of the other variables in a gap to its units then.
    """
    seen = np.isfinite(value)
    low = np.where(seen, value, np.inf).min(axis=1)
    high = np.where(seen, value, -np.inf).max(axis=1)
    unknown = region_scale & seen.any(axis=1) & (np.asarray(params.region_std) == UNKNOWN)
    clipped = np.clip(mean, low[:, :, None], high[:, :, None])
    return np.where(unknown[:, :, None], clipped, mean)
