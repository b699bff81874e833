"""`mogpr`, `mogpr_1D` and `MOGPRTransformer` with the signatures of FuseTS."""

import functools
import inspect
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from s1jax import gp
from s1jax.forked import refuse_forked
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
from s1jax.fusets.fuse import INDUCING, check_latents, fit_scales, fuse
from s1jax.mogpr import MogprParams
from s1jax.types import Estimate

_F = TypeVar("_F", bound=Callable)
_STEP = np.timedelta64(5, "D")
"""Between the dates of FuseTS' `transform`."""
_ROWS = 32
"""The dates of one pixel are padded to multiples of this: fewer programs to compile."""


def listing(function: _F) -> _F:
    """`function`, or a class, whose TypeError for an unknown keyword lists the valid ones."""
    if isinstance(function, type):
        function.__init__ = _listing(function.__init__, function.__name__)
        return function  # pyright: ignore[reportReturnType] (narrowed to type)
    return _listing(function, function.__name__)


def _listing(function: Callable, name: str) -> Any:
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    valid = [p.name for p in parameters if p.kind in kinds and p.name != "self"]

    @functools.wraps(function)
    def _call(*args, **kwargs):
        refuse(name, kwargs, valid)
        return function(*args, **kwargs)

    return _call


def refuse(name: str, given: dict, valid: list[str]) -> None:
    """Refuse keywords that are not valid (TypeError naming them and the valid ones)."""
    unknown = [keyword for keyword in given if keyword not in valid]
    if unknown:
        raise TypeError(
            f"{name}() got unknown keyword(s) {', '.join(unknown)}; valid are {', '.join(valid)}"
        )


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
        unknown = [keyword for keyword in params if keyword not in valid]
        if unknown:
            got, name = ", ".join(unknown), type(self).__name__
            raise ValueError(f"{name}: got {got}, expected some of {', '.join(valid)}")
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

        Args:
          X: Dataset as of `mogpr`.
          y: nothing; there as FuseTS has it.

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
        if isinstance(hyper, gp.Hyper):
            check_latents(self.latents, hyper)
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
        if self.compat:
            estimate = partial(shipped.fuse, seed=self.seed)
        else:
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
    keys = []
    for time in time_in:
        order = np.argsort(time, kind="stable")
        again = np.empty(len(time))
        again[order] = np.arange(len(time)) - np.searchsorted(time[order], time[order])
        keys.append(np.stack([time, again], axis=-1).astype(float))
    every, index = np.unique(np.concatenate(keys), axis=0, return_inverse=True)
    rows = len(every) + -len(every) % _ROWS
    value = np.full((1, rows, len(data_in)), np.nan)
    index = np.split(index.reshape(-1), np.cumsum([len(time) for time in time_in])[:-1])
    for output, (series, rows_of) in enumerate(zip(data_in, index, strict=True)):
        value[0, rows_of, output] = cleaned(np.asarray(series)[None], [])[0][0]
    return np.pad(every[:, 0], (0, rows - len(every)), mode="edge"), value


def _padded(model: MogprParams, day: np.ndarray, value: np.ndarray, at: np.ndarray) -> Estimate:
    """`fuse` with query days up to a whole number of rows."""
    estimate = fuse(model, day, value, np.pad(at, (0, -at.size % _ROWS), mode="edge"))
    mean, std = (leaf[..., : at.size].copy() for leaf in (estimate.mean, estimate.std))
    return estimate._replace(mean=mean, std=std)
