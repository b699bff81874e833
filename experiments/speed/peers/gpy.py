"""GPy: the model of FuseTS as it starts it, the same model from a sane start, and given."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, reduce
from operator import add

import GPy
import numpy as np

from experiments.speed.peers import Curves, Peer, good_start, on_z_scores, one_by_one
from s1jax.gp import Hyper, Observations
from s1jax.types import Days

log = logging.getLogger("s1jax")

EVALUATIONS = 1000
"""Most evaluations of one fit, as FuseTS has it (GPy's default)."""

Model = GPy.models.GPCoregionalizedRegression


def peers(given: Sequence[Hyper], outputs: int) -> list[Peer]:
    """As shipped; the full and the intrinsic model from a good start; the posterior at `given`."""

    def _peer(mode: str, latents: int, work: str, model: Callable[..., Model]) -> Peer:
        label = f"GPy {mode}, latents {latents}"
        run = on_z_scores(one_by_one(partial(_solve, model), label), label)
        return Peer("GPy", GPy.__version__, mode, latents, "float64", work, run)

    fit = f"fit by L-BFGS-B (at most {EVALUATIONS} evaluations) and posterior, pixel by pixel"
    lcm = "linear model of coregionalisation, Matern-3/2, as many latents as outputs"
    shipped = (
        f"FuseTS' model ({lcm}) and its start (length scale 1 day, random loadings) rebuilt on "
        f"GPy {GPy.__version__}, FuseTS itself having removed it in 2026: {fit}"
    )
    made = [_peer("shipped", outputs, shipped, shipped_model)]
    for latents, name in ((outputs, lcm), (1, "intrinsic model of coregionalisation, Matern-3/2")):
        start = good_start(latents, outputs)
        days = ", ".join(f"{l:g}" for l in start.lengthscale)
        work = f"{name}, from length scales of {days} days: {fit}"
        made.append(_peer("good-start", latents, work, partial(fitted_model, start)))
    work = (
        "posterior at given hyperparameters (GPy returns the gradient too), pixel by pixel in one "
        "model whose data change"
    )
    anew = (
        "posterior at given hyperparameters, a model object built for every pixel, as FuseTS does"
    )
    for hyper in given:
        latents = len(hyper.lengthscale)
        label = f"GPy region, latents {latents}"
        run = on_z_scores(partial(_posterior, hyper, label), label)
        made.append(Peer("GPy", GPy.__version__, "region", latents, "float64", work, run))
        label = f"GPy rebuilt region, latents {latents}"
        run = on_z_scores(one_by_one(partial(_solve, partial(_rebuilt, hyper)), label), label)
        made.append(Peer("GPy rebuilt", GPy.__version__, "region", latents, "float64", anew, run))
    return made


def shipped_model(index: int, series: Observations) -> Model:
    """GPy's model of one z-scored pixel, fitted from the start of FuseTS.

    W is .5 randn from NumPy's global generator, which FuseTS leaves unseeded; here the place of
    the pixel among those solved in one call seeds it. Times are whole days.
    """
    outputs = series.value.shape[-1]
    with _seeded(index):
        matern = [GPy.kern.Matern32(1) for _ in range(outputs)]
        kernel = GPy.util.multioutput.LCM(1, outputs, matern, W_rank=1)
    model = _model(kernel, np.ones(outputs), series._replace(day=np.floor(series.day)))
    model.optimize("lbfgsb", max_iters=EVALUATIONS)
    return model


def fitted_model(start: Hyper, index: int, series: Observations) -> Model:
    """GPy's model of one z-scored pixel, fitted from `start`."""
    del index
    model = _given_model(start, series)
    model.optimize("lbfgsb", max_iters=EVALUATIONS)
    return model


def _rebuilt(hyper: Hyper, index: int, series: Observations) -> Model:
    """GPy's model of one z-scored pixel at `hyper`, nothing fitted."""
    del index
    return _given_model(hyper, series)


def _given_model(hyper: Hyper, series: Observations) -> Model:
    lengthscale, mixing, kappa, noise = (np.asarray(leaf, np.float64) for leaf in hyper)
    # GPy's variance is redundant with W and kappa and stays 1
    terms = [
        GPy.util.multioutput.ICM(
            1, noise.size, GPy.kern.Matern32(1, lengthscale=l), W=w[:, None], kappa=k, name=f"K{q}"
        )
        for q, (l, w, k) in enumerate(zip(lengthscale, mixing, kappa, strict=True))
    ]
    return _model(reduce(add, terms), noise, series)


def _model(kernel: GPy.kern.Kern, noise: np.ndarray, series: Observations) -> Model:
    noises = [GPy.likelihoods.Gaussian(variance=s, name=f"noise{d}") for d, s in enumerate(noise)]
    return Model(*_lists(series), kernel, likelihoods_list=noises)


def _lists(series: Observations) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Days and z of each output's observations, (observation, 1) each, as GPy wants them."""
    seen = list(zip(series.value.T, series.valid.T, strict=True))
    days = [series.day[valid, None] for _, valid in seen]
    return days, [value[valid, None] for value, valid in seen]


def _posterior(hyper: Hyper, label: str, series: Observations, days: Days) -> Curves:
    """Mean and std of an observation of the last output of z-scored pixels, nothing fitted."""
    first = Observations(series.day, series.value[0], series.valid[0])
    # making GPy's objects takes several times as long as the posterior: one set serves all pixels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _given_model(hyper, first)

    def _model_of(index: int, one: Observations) -> Model:
        del index
        model.set_XY(*_lists(one))
        return model

    return one_by_one(partial(_solve, _model_of), label)(series, days)


def _solve(
    model: Callable[[int, Observations], Model], index: int, series: Observations, days: Days
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std of an observation of the last output of one z-scored pixel."""
    output = np.full((len(days), 1), series.value.shape[-1] - 1)
    # an overflow far from the optimum is the optimiser's own affair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            mean, variance = model(index, series).predict(
                np.column_stack([days, output]), Y_metadata={"output_index": output}
            )
        except np.linalg.LinAlgError as error:
            log.warning("GPy gives up pixel %d: %s", index, error)
            return np.full(len(days), np.nan), np.full(len(days), np.nan)
    return mean[:, 0], np.sqrt(variance[:, 0])


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator, the only one GPy draws from, seeded inside and as before after."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
