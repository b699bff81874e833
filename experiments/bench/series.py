"""The sequence network: seconds of an epoch, and of its whole training from the shipped weights."""

import time
from dataclasses import replace

import jax
import numpy as np

from experiments.bench import epochs, timing
from experiments.bench.bed import Part
from s1jax import networks, train
from s1jax.networks import CnpConfig, SequenceParams
from s1jax.networks.bands import PLAIN
from s1jax.types import NDVI

NEEDED_FIT_S = {"cpu": 300.0, "gpu": 60.0}
"""Seconds that the whole training may take, on two cores and on a GPU."""


def start_of(cnp: CnpConfig) -> SequenceParams:
    """The shipped weights, or random ones."""
    if cnp.pretrained:
        return networks.pretrained(cnp)
    return SequenceParams(networks.initial(jax.random.key(0), cnp), None, PLAIN)


def of_series(
    cnp: CnpConfig, part: Part, *, seed: int, count: int
) -> tuple[list[epochs.Pass], dict]:
    """So many epochs over the training pixels, and what a row of the table says of them."""
    seen, decide = networks.dates(part.train), networks.dates(part.val)
    by = networks.moments(seen)
    parts = [networks.standardise(some, by) for some in (seen, decide)]
    cnp = replace(cnp, train=replace(cnp.train, epochs=1))
    one = epochs.ours(
        lambda key, start: networks.learn(key, cnp, *parts, start, label="cnp"),
        jax.random.key(seed),
        start_of(cnp).variables,
    )
    passes = epochs.in_turn({"s1jax cnp": one}, count)["s1jax cnp"]
    pixels, decided = (int(np.asarray(some.label).any(1).sum()) for some in parts)
    work = (
        f"a row is a pixel of {seen.label.shape[1]} dates, its NDVI hidden anew in every step; and "
        f"the loss of {decided:,} validation pixels, hidden in several ways"
    )
    dtype = "bfloat16" if cnp.bfloat16 else "float32"
    return passes, {
        "work": work,
        "rows": pixels,
        "batch": train.batch_size(pixels, cnp.train),
        "dtype": dtype,
    }


def whole(cnp: CnpConfig, part: Part, *, seed: int) -> dict:
    """Seconds of `networks.fine_tune` with all its steps: compiling, training, validation, band."""
    begun = time.perf_counter()
    found = networks.fine_tune(
        jax.random.key(seed), start_of(cnp), part.train, part.val, config=cnp
    )
    jax.block_until_ready(found)
    seconds = time.perf_counter() - begun
    pixels = int(np.asarray(part.train.valid)[..., NDVI].any(1).sum())
    steps = int(np.prod(train.plan(pixels, cnp.train)))
    needed = NEEDED_FIT_S["cpu" if jax.default_backend() == "cpu" else "gpu"]
    words = (
        f"cnp, all of its training from {'the shipped' if cnp.pretrained else 'random'} weights: "
        f"{steps:,} steps of {train.batch_size(pixels, cnp.train)} of {pixels:,} pixels in "
        f"{seconds:,.0f} s, compiling included (needed: {needed:.0f} s)"
    )
    dtype = "bfloat16" if cnp.bfloat16 else "float32"
    told = {"name": "s1jax cnp, whole", "dtype": dtype, "device": timing.device()}
    return told | {"seconds": seconds, "words": words}
