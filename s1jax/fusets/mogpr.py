"""`mogpr`, `mogpr_1D` and `MOGPRTransformer` with the signatures of FuseTS."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from s1jax import gp
from s1jax.forked import refuse_forked
from s1jax.fusets import compat as shipped
from s1jax.fusets.config import Method, check, inducing
from s1jax.fusets.dataset import Cube, Source, opened, sample
from s1jax.fusets.fuse import Fused, fuse
from s1jax.fusets.keywords import listing, options_of, refuse, with_options
from s1jax.fusets.learn import learn
from s1jax.fusets.missing import cleaned
from s1jax.fusets.periods import Period, dates, parse
from s1jax.fusets.run import Wanted, fused
from s1jax.mogpr import MogprParams

_STEP = np.timedelta64(5, "D")
"""Between the dates of FuseTS' `transform`."""
_ROWS = 32
"""Series of one pixel are filled up to multiples of this many dates: fewer programs to compile."""


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

    Each variable tells the others where they have gaps, by one Gaussian process per pixel: a linear
    model of coregionalisation with Matern-3/2 latents. Dimensions, coordinates, CRS and dtype are
    those of the input (integers become float32, wider ones float64), variables without a time stay
    beside what is fused; what is in chunks stays lazy, and the result is the same to the last bit.
    Missing are NaN, +-inf, declared fills, -9999, -32768 and whatever is beyond 1e30; what was
    dropped is counted in the attribute `s1jax_dropped` (arrays in memory) and logged. A variable
    without any observation in a pixel is NaN there; the others are fused. One that varies neither
    in the pixel nor in the region stays at its value.

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
      include_raw_inputs: also <v>_RAW, what was observed. With a prediction period the result has
        its dates and all those of the input, as in FuseTS: <v>_FUSED and <v>_STD are NaN on what
        is a date of the input alone, <v>_RAW on the others.
      include_quality: also QUALITY, bit flags of each pixel.
      hyper: hyperparameters: "region", fitted once on at most 256 pixels spread evenly over the
        array; "pixel", a fit for each around those; `gp.Hyper` on z-scored variables in the order
        of the Dataset; or a .npz file of `s1jax.mogpr.save`.
      latents: latent processes; None: as many as variables, FuseTS' model; 1: intrinsic, faster.
      solver: "kalman", "quasisep" or "dense"; the numbers are the same.
      method: None or "exact"; "sparse": approximated by inducing days.
      n_inducing: their number, 20 where None.
      optimize: False: nothing is fitted; the hyperparameters are a fit's start (length scales of 30
        to 120 days).
      compat: "fusets": its own fit, numbers and "std" (`s1jax.fusets.compat`), slowly.
      seed: of the random start of that fit.

    Raises:
      ValueError: names, dates, period or options that cannot be, each by name.
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
class MOGPRTransformer:
    """`fit` learns a region's hyperparameters, `transform` fuses by them, `fit_transform` is both.

    Fitted on a region, or a part that stands for it, and then asked tile by tile, it gives what the
    whole gives at once. `fit_transform` of each tile fits each anew, as FuseTS fits each pixel: it
    is slower, and the tiles do not quite match at their edges. Fields are those of `mogpr`.

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
    """What `fit` learnt; `s1jax.mogpr.save(model, path)` keeps it for `hyper=path`."""
    names: tuple[Hashable, ...] = field(default=(), init=False, repr=False)
    """The variables it was learnt from."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options by name, as scikit-learn asks for them; `deep` changes nothing."""
        return options_of(self)

    def set_params(self, **params: Any) -> "MOGPRTransformer":
        """Itself with these options; what was learnt stays until the next `fit`.

        Raises:
          ValueError: an option that does not exist.
        """
        return with_options(self, params)

    def fit(self, X: Source, y: None = None) -> "MOGPRTransformer":
        """Itself, having learnt the hyperparameters and scales of the variables of X.

        Args:
          X: Dataset as of `mogpr`.
          y: nothing; there as FuseTS has it.

        Raises:
          TypeError, ValueError: as `mogpr`.
        """
        method, cube = self._method(), self._opened(X)
        self.names = cube.names
        self.model = None if self.compat else learn(*sample(cube), method)
        return self

    def transform(self, X: Source) -> xr.Dataset:
        """X fused by what `fit` learnt, as `mogpr` returns it; with `compat`, as FuseTS does.

        Raises:
          TypeError: no Dataset; the message says what to pass.
          ValueError: `fit` was not called, or with other variables; or options that FuseTS'
            `transform` lacks, with `compat`.
        """
        cube = self._opened(X)
        if cube.names != self.names and (self.names or self.compat is None):
            got = f"{cube.names}, fitted on {self.names}" if self.names else "no fit"
            raise ValueError(f"transform: got {got}, expected fit with the same variables before")
        return self._fused(cube, self._wanted(cube) if self.compat is None else self._bare(cube))

    def fit_transform(self, X: Source, y: None = None, **options) -> xr.Dataset:
        """X fused by what is learnt from it; `options` replace those of the constructor this once.

        Raises:
          TypeError: an unknown option; the message lists the valid ones.
        """
        refuse("fit_transform", options, [f.name for f in fields(self) if f.init])
        once = replace(self, **options).fit(X)
        self.model, self.names = once.model, once.names
        cube = once._opened(X)
        return once._fused(cube, once._wanted(cube))

    def _method(self) -> Method:
        refuse_forked()
        method = Method(**{f.name: getattr(self, f.name) for f in fields(Method)})
        check(method)
        return method

    def _opened(self, array: Source) -> Cube:
        if self.prediction_period is not None:
            parse(self.prediction_period)
        cube = opened(array, self.variables, self.time_dimension)
        given = isinstance(self.hyper, gp.Hyper) or self.hyper not in ("region", "pixel")
        named = (
            cube.names
            if len(cube.names) == 1
            else tuple(cube.names if self.variables is None else self.variables)
        )
        if given and cube.names != named:
            expected = f"the Dataset's order {cube.names}, which is that of the hyperparameters"
            raise ValueError(f"variables: got {named} beside hyper, expected {expected}")
        return cube

    def _wanted(self, cube: Cube) -> Wanted:
        own, period = cube.dates(), self.prediction_period
        return Wanted(
            None if period is None else dates(own.min(), own.max(), period),
            self.include_uncertainties,
            self.include_raw_inputs,
            self.include_quality,
        )

    def _bare(self, cube: Cube) -> Wanted:
        """What FuseTS' `transform` returns."""
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
        return Wanted(every.astype("datetime64[ns]"), bare=True)

    def _fused(self, cube: Cube, wanted: Wanted) -> xr.Dataset:
        if self.compat:
            return fused(cube, partial(shipped.fuse, seed=self.seed), wanted)
        count = inducing(self._method())
        return fused(cube, partial(fuse, self.model, solver=self.solver, inducing=count), wanted)


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

    The quality is True where every variable could be fused. The model, given back as
    `trained_model`, saves the fit. For many pixels use `mogpr`, which does them in one call.

    Args:
      data_in: values of each variable, NaN where missing.
      time_in: days of each (ordinals), which need not be the same.
      master_ind: the variable without which FuseTS fuses nothing; only `compat` heeds it.
      output_timevec: days to estimate on, counted the same.
      nt: how often FuseTS fits from random starts; nothing is random here, so one fit serves.
      trained_model: hyperparameters and scales to use instead of a fit.
      hyper: as of `mogpr`.
      latents: as of `mogpr`.
      solver: as of `mogpr`.
      compat: as of `mogpr`; no model is returned then.
      seed: as of `mogpr`.

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
    method = Method(hyper=hyper, latents=latents, solver=solver, compat=compat, seed=seed)
    check(method)
    if compat and (nt != 1 or trained_model is not None):
        raise ValueError("compat: got 'fusets' with nt or trained_model, expected neither")
    day, value = _rows(data_in, time_in)
    model = None
    if compat:
        found = shipped.fuse(day, value, at, seed=seed, master=master_ind)
    else:
        model = learn(day, value, method) if trained_model is None else trained_model
        found = _padded(model, day, value, at, solver)
    mean, std = (list(leaf[0].T.copy()) for leaf in (found.mean, found.std))
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
    every, place = np.unique(np.concatenate(keys), axis=0, return_inverse=True)
    rows = len(every) + -len(every) % _ROWS
    value = np.full((1, rows, len(data_in)), np.nan)
    places = np.split(place.reshape(-1), np.cumsum([len(time) for time in time_in])[:-1])
    for output, (series, where) in enumerate(zip(data_in, places, strict=True)):
        value[0, where, output] = cleaned(np.asarray(series)[None], [])[0][0]
    return np.pad(every[:, 0], (0, rows - len(every)), mode="edge"), value


def _padded(
    model: MogprParams, day: np.ndarray, value: np.ndarray, at: np.ndarray, solver: str
) -> Fused:
    """`fuse` with days asked for up to a whole number of rows."""
    more = np.pad(at, (0, -at.size % _ROWS), mode="edge")
    found = fuse(model, day, value, more, solver=solver)
    return found._replace(mean=found.mean[:, : at.size], std=found.std[:, : at.size])
