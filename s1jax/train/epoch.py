"""One pass over the training rows, a loop over on-device batches, compiled once.

The program depends on the loss, the options and on shapes that are rounded up, so that another
fold, seed or region of about the same size runs it again without compiling.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from s1jax.train.config import TrainConfig
from s1jax.types import Key


class Variables(NamedTuple):
    """What a network has learnt."""

    params: PyTree
    """Weights."""
    batch_stats: PyTree
    """Running statistics of batch normalisation; empty without."""


class State(NamedTuple):
    """All that training needs to go on."""

    variables: Variables
    opt_state: PyTree
    plateau: PyTree
    best: Variables
    best_loss: Float[Array, ""]
    best_epoch: Int[Array, ""]
    epoch: Int[Array, ""]
    """Passes made."""
    history: Float[Array, "epochs 2"]
    """Training and validation loss of each epoch; NaN where not reached."""


class Data(NamedTuple):
    """Rows to learn from, and what they are looked up in."""

    stack: PyTree
    """Given whole to the loss, so that features are computed per batch and never stored."""
    rows: PyTree
    """The rows on the first axis."""


Loss = Callable[[Key | None, Variables, Data], tuple[Float[Array, "row"], PyTree]]
"""`loss(key, variables, data)` gives the loss of each row and new batch statistics.

Without a key it evaluates: no dropout, running statistics.
"""


def rows(data: Data) -> int:
    """Number of rows."""
    return jax.tree.leaves(data.rows)[0].shape[0]


def take(data: Data, index: Int[Array, "row"]) -> Data:
    """Some of the rows."""
    return data._replace(rows=jax.tree.map(lambda leaf: leaf[index], data.rows))


def optimiser_of(config: TrainConfig):
    """AdamW of rate 1, and what lowers the rate on a plateau (of a cosine: never)."""
    patience = config.plateau_patience if config.schedule == "plateau" else config.epochs + 1
    optimiser = optax.adamw(1.0, weight_decay=config.weight_decay)
    if config.clip is not None:
        optimiser = optax.chain(optax.clip_by_global_norm(config.clip), optimiser)
    plateau = optax.contrib.reduce_on_plateau(factor=config.plateau_factor, patience=patience)
    return optimiser, plateau


def _evaluate(loss, variables, data, n, batch):
    """Mean loss over the first n rows, in batches; the last holds rows that do not count."""

    def _step(number, total):
        index = number * batch + jnp.arange(batch, dtype=number.dtype)
        each, _ = loss(None, variables, take(data, jnp.minimum(index, n - 1)))
        return total + jnp.where(index < n, each, 0.0).sum()

    zero = jnp.zeros((), jax.tree.leaves(variables)[0].dtype)
    return jax.lax.fori_loop(0, (n + batch - 1) // batch, _step, zero) / n.astype(zero.dtype)


def rate(config: TrainConfig, step, steps):
    """Learning rate of a step of so many."""
    if config.schedule == "plateau":
        return config.learning_rate
    warm = jnp.maximum(steps // 20, 1).astype(float)
    step, steps = step.astype(float), jnp.maximum(steps, 2).astype(float)
    falls = 0.5 * (1.0 + jnp.cos(jnp.pi * (step - warm) / jnp.maximum(steps - warm, 1.0)))
    return config.learning_rate * jnp.where(step < warm, step / warm, falls)


@partial(jax.jit, static_argnames=("loss", "config"))
def epoch(key, state, training, validation, order, counts, *, loss, config):
    """State after one pass over the training rows, the validation loss taken at its end.

    `order` has the rows of each batch, `counts` the batches of a pass, the passes planned and the
    validation rows.
    """
    optimiser, plateau = optimiser_of(config)
    batches, planned, n = counts
    batch = order.shape[1]

    def _step(number, carry):
        variables, opt_state, total = carry

        def _mean(params):
            each, stats = loss(
                jax.random.fold_in(key, number),
                Variables(params, variables.batch_stats),
                take(training, order[number]),
            )
            return each.mean(), stats

        (value, stats), grads = jax.value_and_grad(_mean, has_aux=True)(variables.params)
        now = rate(config, state.epoch * batches + number, planned * batches)
        # optax mixes Python and array scalars of other types, which strict promotion forbids
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            updates, opt_state = optimiser.update(grads, opt_state, variables.params)
            scale = now * state.plateau.scale
            updates = jax.tree.map(lambda u: (u * scale).astype(u.dtype), updates)
            params = optax.apply_updates(variables.params, updates)
        return Variables(params, stats), opt_state, total + value

    start = (state.variables, state.opt_state, jnp.zeros_like(state.best_loss))
    variables, opt_state, total = jax.lax.fori_loop(0, batches, _step, start)
    value = _evaluate(loss, variables, validation, n, batch)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        _, plateau_state = plateau.update(variables.params, state.plateau, value=value)
        plateau_state = jax.tree.map(
            lambda new, old: new.astype(old.dtype), plateau_state, state.plateau
        )
    better = value < state.best_loss
    mean = total / batches.astype(total.dtype)
    return State(
        variables=variables,
        opt_state=opt_state,
        plateau=plateau_state,
        best=jax.tree.map(lambda new, old: jnp.where(better, new, old), variables, state.best),
        best_loss=jnp.where(better, value, state.best_loss),
        best_epoch=jnp.where(better, state.epoch, state.best_epoch),
        epoch=state.epoch + 1,
        history=state.history.at[state.epoch].set(jnp.stack([mean, value])),
    )
