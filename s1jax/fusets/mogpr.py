"""`mogpr`, `mogpr_1D` and `MOGPRTransformer` with the signatures of FuseTS."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from s1jax import gp
from s1jax.forked import refuse_forked
from s1jax.fusets import compat as shipped
from s1jax.fusets.config import Method, check, inducing
from s1jax.fusets.dataset import Cube, opened, sample
from s1jax.fusets.fuse import Fused, fuse
from s1jax.fusets.keywords import listing, refuse
from s1jax.fusets.learn import learn
from s1jax.fusets.missing import cleaned
from s1jax.fusets.periods import parse
from s1jax.fusets.run import fused
from s1jax.mogpr import MogprParams

_ROWS = 32
"""Series of one pixel are filled up to multiples of this many dates: fewer programs to compile."""


@listing
def mogpr(
    array: xr.Dataset,
    variables: Sequence[str] | None = None,
    time_dimension: str = "t",
    prediction_period: str | None = None,
    include_uncertainties: bool = False,
    include_raw_inputs: bool = False,
    *,
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
    those of the input (integers become float32); what is in chunks stays lazy, and the result is
    the same to the last bit. Missing are NaN, +-inf, declared fills, -9999, -32768 and whatever is
    beyond 1e30; what was dropped is counted in the attribute `s1jax_dropped` (arrays in memory) and
    logged. A variable without any observation in a pixel is NaN there; the others are fused.

    Args:
      array: any dimensions besides time; values in any unit.
      variables: names; None: all numeric ones that have a time.
      time_dimension: its name; may be left where only one dimension has dates.
      prediction_period: ISO-8601 period between the dates of the result, from the first to the last
        of the input: P5D, P1W, P1M (calendar months), or short 5D. None: the dates of the input.
      include_uncertainties: also <v>_STD, the standard deviation of an observation (sqrt of latent
        variance plus noise variance) in units of v, and QUALITY (bit flags).
      include_raw_inputs: also <v>_RAW: what was observed on that day, else NaN.
      hyper: hyperparameters: "region", fitted once on at most 256 pixels spread evenly over the
        array; "pixel", a fit for each around those; `gp.Hyper` on z-scored variables in their
        order; or a .npz file of `s1jax.mogpr.save`.
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
      TypeError: an unknown keyword; the message lists the valid ones.
    """
    transformer = MOGPRTransformer(
        variables, time_dimension, prediction_period, include_uncertainties, include_raw_inputs,
        hyper, latents, solver, method, n_inducing, optimize, compat, seed,
    )  # fmt: skip
    return transformer.fit_transform(array)


@listing
@dataclass
class MOGPRTransformer:
    """`fit` learns a region's hyperparameters, `transform` fuses by them, `fit_transform` is both.

    Fitted on a region, or a part that stands for it, and then asked tile by tile, it gives what the
    whole gives at once. `fit_transform` of each tile fits each anew, as FuseTS fits each pixel: it
    is slower, and the tiles do not quite match at their edges. Fields are those of `mogpr`.
    """

    variables: Sequence[str] | None = None
    time_dimension: str = "t"
    prediction_period: str | None = None
    include_uncertainties: bool = False
    include_raw_inputs: bool = False
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
    names: tuple[str, ...] = field(default=(), init=False, repr=False)
    """The variables it was learnt from."""

    def fit(self, X: xr.Dataset, y: None = None) -> "MOGPRTransformer":
        """Itself, having learnt the hyperparameters and scales of the variables of X.

        Args:
          X: Dataset as of `mogpr`.
          y: nothing; there as FuseTS has it.
        """
        method, cube = self._method(), self._opened(X)
        self.names = cube.names
        self.model = None if self.compat else learn(*sample(cube), method)
        return self

    def transform(self, X: xr.Dataset) -> xr.Dataset:
        """X fused by what `fit` learnt, as `mogpr` returns it.

        Raises:
          ValueError: `fit` was not called, or with other variables.
        """
        method, cube = self._method(), self._opened(X)
        if self.compat is None and cube.names != self.names:
            got = f"{cube.names}, fitted on {self.names}" if self.names else "no fit"
            raise ValueError(f"transform: got {got}, expected fit with the same variables before")
        return fused(
            cube,
            self._fuse(method),
            period=self.prediction_period,
            uncertainties=self.include_uncertainties,
            raw=self.include_raw_inputs,
        )

    def fit_transform(self, X: xr.Dataset, y: None = None, **options) -> xr.Dataset:
        """X fused by what is learnt from it; `options` replace those of the constructor this once.

        Raises:
          TypeError: an unknown option; the message lists the valid ones.
        """
        refuse("fit_transform", options, [f.name for f in fields(self) if f.init])
        once = replace(self, **options).fit(X)
        self.model, self.names = once.model, once.names
        return once.transform(X)

    def _method(self) -> Method:
        refuse_forked()
        method = Method(**{f.name: getattr(self, f.name) for f in fields(Method)})
        check(method)
        return method

    def _opened(self, array: xr.Dataset) -> Cube:
        if self.prediction_period is not None:
            parse(self.prediction_period)
        return opened(array, self.variables, self.time_dimension)

    def _fuse(self, method: Method):
        if self.compat:
            return partial(shipped.fuse, seed=self.seed)
        return partial(fuse, self.model, solver=self.solver, inducing=inducing(method))


@listing
def mogpr_1D(
    data_in: Sequence[np.ndarray],
    time_in: Sequence[np.ndarray],
    master_ind: int,
    output_timevec: np.ndarray,
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
    lengths = [(len(v), len(t)) for v, t in zip(data_in, time_in, strict=True)]
    if any(a != b for a, b in lengths) or sum(map(sum, lengths)) == 0:
        raise ValueError(f"time_in: got lengths (data, time) {lengths}, expected equal ones, > 0")
    if not 0 <= master_ind < len(data_in) or nt < 1:
        got = f"master_ind {master_ind}, nt {nt}"
        raise ValueError(f"got {got}, expected one of {len(data_in)} variables and 1 or more")
    method = Method(hyper=hyper, latents=latents, solver=solver, compat=compat, seed=seed)
    check(method)
    if compat and (nt != 1 or trained_model is not None):
        raise ValueError("compat: got 'fusets' with nt or trained_model, expected neither")
    day, value = _rows(data_in, time_in)
    at = np.asarray(output_timevec, float)
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
