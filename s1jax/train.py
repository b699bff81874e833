"""Training: an epoch is one compiled loop over on-device batches; validation decides the rest.

The program of an epoch depends on the loss, the options and on shapes that are rounded up, so that
another fold, seed or region of about the same size runs it again without compiling.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from jaxtyping import Array, Float, Int, PyTree

from s1jax.batching import bar, chunk_size, title_or
from s1jax.files import DAMAGED, line_of
from s1jax.types import Key

log = logging.getLogger("s1jax")

_CHOICES = 10
"""Epochs among which validation can choose, at least, where `steps` bounds them."""


@dataclass(frozen=True)
class TrainConfig:
    """AdamW, a learning rate that falls, and early stopping by the validation loss."""

    learning_rate: float = 1e-3
    """Initial learning rate of AdamW."""
    schedule: Literal["plateau", "cosine"] = "plateau"
    """How the learning rate falls: after epochs without a better validation loss, or along a cosine
    to zero over all epochs, after a rise over the first twentieth."""
    clip: float | None = None
    """Largest norm of a gradient; None: any."""
    weight_decay: float = 1e-5
    """Decoupled weight decay of AdamW."""
    batch_rows: int = 256_000
    """Rows of a batch, at most; a power of two below it where the data give less than `batches` of
    them."""
    batches: int = 64
    """Batches of an epoch, at least."""
    epochs: int = 150
    """Passes over the training rows, at most."""
    steps: int | None = None
    """Batches in all, at most; None: any. Epochs are fewer, and shorter where less than ten would
    be left, each through other rows, so that validation can choose."""
    plateau_factor: float = 0.5
    """Learning rate factor after a plateau."""
    plateau_patience: int = 10
    """Epochs without a better validation loss before the learning rate falls."""
    patience: int = 20
    """Epochs without a better validation loss before training stops."""
    save_every: int = 10
    """Epochs between two checkpoints, where a folder is given; the last epoch always has one."""


def rows_per_batch(rows: int, config: TrainConfig) -> int:
    """Rows of a batch: `batch_rows`, or the largest power of two that gives `batches` batches."""
    most = rows // config.batches
    return config.batch_rows if most >= config.batch_rows else 1 << max(most.bit_length() - 1, 0)


def epochs_and_batches(rows: int, config: TrainConfig) -> tuple[int, int]:
    """Epochs over so many rows, and batches of each."""
    batches = rows // rows_per_batch(rows, config)
    if config.steps is None:
        return config.epochs, batches
    batches = min(batches, max(1, config.steps // _CHOICES))
    return max(1, min(config.epochs, config.steps // batches)), batches


class Variables(NamedTuple):
    """Weights of a network and what its layers count."""

    params: PyTree
    """Weights."""
    batch_stats: PyTree
    """Running statistics of batch normalisation; empty without."""


class State(NamedTuple):
    """All that a training needs to go on."""

    variables: Variables
    opt_state: PyTree
    plateau: PyTree
    best: Variables
    best_loss: Float[Array, ""]
    best_epoch: Int[Array, ""]
    epoch: Int[Array, ""]
    """Epochs done."""
    history: Float[Array, "epochs 2"]
    """Training and validation loss of each epoch; NaN where not reached."""


class Data(NamedTuple):
    """Rows of a loss, and the arrays that it looks them up in."""

    store: PyTree
    """Whole for every batch, so that features are computed per batch and never stored."""
    rows: PyTree
    """The rows on the first axis."""


Loss = Callable[[Key | None, Variables, Data], tuple[Float[Array, "row"], PyTree]]
"""`loss(key, variables, data)` gives the loss of each row and new batch statistics.

Without a key it evaluates: no dropout, running statistics.
"""


def count_rows(data: Data) -> int:
    """Number of rows."""
    return jax.tree.leaves(data.rows)[0].shape[0]


def fit(
    key: Key,
    loss: Loss,
    variables: Variables,
    training: Data,
    validation: Data,
    *,
    config: TrainConfig,
    folder: Path | None = None,
) -> State:
    """State whose `best` minimises the mean loss on the validation rows.

    Validation rows decide learning rate, stopping and the best epoch.

    Args:
      key: epoch k uses `fold_in(key, k)`, so a resumed run equals an unbroken one.
      loss: pass the same object for the same loss, or it is compiled anew.
      variables: start.
      training: rows of training pixels.
      validation: rows of validation pixels.
      config: optimiser, batches and stopping.
      folder: for checkpoints, from which a later call resumes.

    Raises:
      ValueError: no training or no validation row, no validation loss that is finite, or a
        checkpoint that is damaged or of another training.
    """
    title, n, m = title_or("training"), count_rows(training), count_rows(validation)
    if n == 0 or m == 0:
        raise ValueError(
            f"{title}: got {n} training and {m} validation rows, expected some of each"
        )
    batch = rows_per_batch(n, config)
    planned, batches = epochs_and_batches(n, config)
    log.info("%s: %d rows in batches of %d, %d validation rows", title, n, batch, m)
    state = _start(variables, config=config)
    training, validation = _padded(training), _padded(validation)
    counts = tuple(jnp.asarray(count, jnp.int32) for count in (batches, planned, m))
    manager = None if folder is None else checkpoints(folder)
    first = 0
    if manager is not None and manager.latest_step() is not None:
        first = manager.latest_step() + 1
        state = _resumed(folder, manager, first - 1, state)
        log.info("%s: resumed after epoch %d", title, first - 1)
    epochs = bar(range(first, planned), title, "epoch")
    for k in epochs:
        if k - int(state.best_epoch) > config.patience:
            log.info("%s: stopped before epoch %d, best %d", title, k, int(state.best_epoch))
            break
        key_order, key_drop = jax.random.split(jax.random.fold_in(key, k))
        order = jnp.asarray(_order(key_order, n, batch, batches))
        state = epoch(
            key_drop, state, training, validation, order, counts, loss=loss, config=config
        )
        epochs.set_postfix(validation=f"{float(state.history[k, 1]):.4f}")
        last = k + 1 == planned or k - int(state.best_epoch) > config.patience
        if manager is not None and (last or (k + 1) % config.save_every == 0):
            manager.save(k, args=ocp.args.StandardSave(state))
    epochs.close()
    if manager is not None:
        manager.close()
    if not jnp.isfinite(state.best_loss):
        raise ValueError(f"{title}: validation loss: got none that is finite, expected some")
    log.info("%s: best validation loss %.5f", title, float(state.best_loss))
    return state


# compiled whole: run one operation after the other, the compiling of each would take seconds
@partial(jax.jit, static_argnames="config")
def _start(variables: Variables, *, config: TrainConfig) -> State:
    """State before the first epoch."""
    optimiser, plateau = _optimiser(config)
    dtype = jax.tree.leaves(variables)[0].dtype
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return State(
            variables=variables,
            opt_state=optimiser.init(variables.params),
            plateau=plateau.init(variables.params),
            best=variables,
            best_loss=jnp.array(jnp.inf, dtype),
            best_epoch=jnp.array(0, jnp.int32),
            epoch=jnp.array(0, jnp.int32),
            history=jnp.full((config.epochs, 2), jnp.nan, dtype),
        )


def _optimiser(config):
    """AdamW of rate 1, and what lowers the rate on a plateau (of a cosine: never)."""
    patience = config.plateau_patience if config.schedule == "plateau" else config.epochs + 1
    optimiser = optax.adamw(1.0, weight_decay=config.weight_decay)
    if config.clip is not None:
        optimiser = optax.chain(optax.clip_by_global_norm(config.clip), optimiser)
    plateau = optax.contrib.reduce_on_plateau(factor=config.plateau_factor, patience=patience)
    return optimiser, plateau


@partial(jax.jit, static_argnames=("loss", "config"))
def epoch(key, state, training, validation, order, counts, *, loss, config):
    """State after one pass over the training rows, the validation loss taken at its end.

    `order` has the rows of each batch, `counts` the batches of an epoch, the epochs planned and the
    validation rows.
    """
    optimiser, plateau = _optimiser(config)
    batches, planned, n = counts
    batch = order.shape[1]

    def _step(number, carry):
        variables, opt_state, total = carry

        def _mean(params):
            each, stats = loss(
                jax.random.fold_in(key, number),
                Variables(params, variables.batch_stats),
                _take(training, order[number]),
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


def rate(config: TrainConfig, step, steps):
    """Learning rate of a step of so many."""
    if config.schedule == "plateau":
        return config.learning_rate
    warm = jnp.maximum(steps // 20, 1).astype(float)
    step, steps = step.astype(float), jnp.maximum(steps, 2).astype(float)
    falls = 0.5 * (1.0 + jnp.cos(jnp.pi * (step - warm) / jnp.maximum(steps - warm, 1.0)))
    return config.learning_rate * jnp.where(step < warm, step / warm, falls)


def _evaluate(loss, variables, data, n, batch):
    """Mean loss over the first n rows, in batches; the last holds rows that do not count."""

    def _step(number, total):
        index = number * batch + jnp.arange(batch, dtype=number.dtype)
        each, _ = loss(None, variables, _take(data, jnp.minimum(index, n - 1)))
        return total + jnp.where(index < n, each, 0.0).sum()

    zero = jnp.zeros((), jax.tree.leaves(variables)[0].dtype)
    return jax.lax.fori_loop(0, (n + batch - 1) // batch, _step, zero) / n.astype(zero.dtype)


def _take(data: Data, index: Int[Array, "row"]) -> Data:
    """Some of the rows."""
    return data._replace(rows=jax.tree.map(lambda leaf: leaf[index], data.rows))


def _padded(data: Data) -> Data:
    """The rows up to a rounded number, filled up with copies of the last."""
    n = count_rows(data)
    index = np.minimum(np.arange(chunk_size(n, most=1 << 40)), n - 1)
    return _take(data, jnp.asarray(index))


def _order(key: Key, n: int, batch: int, batches: int) -> np.ndarray:
    """The rows of each batch of an epoch, in an order drawn from the key."""
    drawn = np.random.default_rng(np.asarray(jax.random.key_data(key))).permutation(n)
    order = np.zeros((chunk_size(batches, most=1 << 40), batch), np.int32)
    order[:batches] = drawn[: batches * batch].reshape(batches, batch)
    return order


def checkpoints(folder: Path) -> ocp.CheckpointManager:
    """Keeper of the last checkpoint in `folder`."""
    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    return ocp.CheckpointManager(folder.resolve(), options=options)


def _resumed(folder, manager, last, template) -> State:
    """The state after epoch `last`."""
    remedy = f"expected that of this training; remove {folder} to train anew"
    try:
        state = manager.restore(last, args=ocp.args.StandardRestore(template))
    except DAMAGED as error:
        got = f"a checkpoint of epoch {last} that does not read ({line_of(error)})"
        raise ValueError(f"{folder}: got {got}, {remedy}") from None
    finite = all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state[:2]))
    if int(state.epoch) != last + 1 or not finite:
        got = f"a checkpoint of epoch {last} with weights that are not finite or of another epoch"
        raise ValueError(f"{folder}: got {got}, {remedy}")
    return state
