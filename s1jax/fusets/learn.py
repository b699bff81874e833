"""What is learnt from a sample of the pixels, once, before any of them is fused."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from s1jax import gp
from s1jax import mogpr as room
from s1jax.fusets.config import Method, same_latents
from s1jax.fusets.scale import moments, relative, scored
from s1jax.mogpr import MogprParams, evenly
from s1jax.types import Series

log = logging.getLogger("s1jax")

CANDIDATES = 4096
"""Pixels, spread evenly, among which those with data are looked for."""
SAMPLE = 256
"""Most of those that the hyperparameters are fitted on."""


def learn(
    day: Float[np.ndarray, "time"], value: Float[np.ndarray, "pixel time output"], method: Method
) -> MogprParams:
    """Scale of each variable over the sample, and hyperparameters fitted on it, given or read.

    Deterministic. Without any data, and with `optimize=False`, the hyperparameters are those that a
    fit starts from (length scale 60 days, or 30 to 120).

    Args:
      day: days, ascending.
      value: a sample of the pixels, physical units, NaN where missing.
      method: checked options.

    Raises:
      ValueError: given hyperparameters are not of as many outputs as there are variables, or a
        file's were learnt less a regional curve.
    """
    outputs = value.shape[-1]
    if isinstance(method.hyper, str) and method.hyper in ("region", "pixel"):
        given = None
    elif isinstance(method.hyper, gp.Hyper):
        given = method.hyper
    else:
        return _read(method, outputs)
    valid = np.isfinite(value)
    mean, std = moments(value)
    dtype = jnp.zeros(0).dtype
    scale = MogprParams(
        hyper=None,
        prior=None,
        region_mean=mean,
        region_std=std,
        curve=None,
        channel=np.arange(outputs),
        widen=np.ones((), dtype),
        own=np.ones((), bool),
    )
    if given is not None:
        _same_outputs(given, outputs)
        return scale._replace(hyper=jax.tree.map(lambda leaf: np.asarray(leaf, dtype), given))
    start = gp.initial(method.latents or outputs, outputs)
    scale = scale._replace(hyper=jax.tree.map(lambda leaf: np.asarray(leaf, dtype), start))
    if not valid.any():
        log.warning("no data in the sample of %d pixels: nothing is fitted", len(value))
        return scale
    if not method.optimize:
        return scale
    some = evenly(len(value), SAMPLE)
    lanes = gp.lanes("kalman", *start.mixing.shape)
    z, *_ = scored(relative(scale, value[some]), valid[some], own=True, lanes=lanes)
    sample = Series(day.astype(dtype), np.asarray(z), valid[some])
    fitted = scale._replace(hyper=gp.fit(sample, scale.hyper))
    if method.hyper == "pixel":
        fitted = fitted._replace(prior=gp.prior(sample, fitted.hyper))
    return jax.tree.map(np.asarray, fitted)


def _read(method: Method, outputs: int) -> MogprParams:
    params = room.load(method.hyper)
    _same_outputs(params.hyper, outputs)
    same_latents(method, params.hyper)
    if params.curve is not None:
        raise ValueError(
            f"hyper: got {method.hyper} learnt less a regional curve, expected mean='zero'"
        )
    place = np.where(params.channel == -1, outputs - 1, params.channel)
    if not (place == np.arange(outputs)).all():
        raise ValueError(
            f"hyper: got {method.hyper} of channels {params.channel.tolist()}, expected those as "
            "observed of the first orbit and NDVI last, which the variables are taken as"
        )
    return jax.tree.map(np.asarray, params)


def _same_outputs(hyper: gp.Hyper, outputs: int) -> None:
    if np.shape(hyper.noise) != (outputs,):
        got = f"{np.size(hyper.noise)} outputs"
        raise ValueError(f"hyper: got {got}, expected {outputs}, one for each variable")
