"""Training: an epoch is one scan over on-device batches; validation loss decides everything."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from jaxtyping import Array, Float, Int, PyTree

from s1jax.progress import bar
from s1jax.types import Key

log = logging.getLogger("s1jax")


@dataclass(frozen=True)
class TrainConfig:
    """AdamW, a learning rate that falls, and early stopping by the validation loss."""

    learning_rate: float = 1e-3
    """Initial learning rate of AdamW, 1."""
    schedule: Literal["plateau", "cosine"] = "plateau"
    """How the learning rate falls: after epochs without a better validation loss, or along a cosine
    to zero over all epochs, after a rise over the first twentieth."""
    clip: float | None = None
    """Longest gradient, by its norm; none: any."""
    weight_decay: float = 1e-5
    """Decoupled weight decay of AdamW, 1."""
    batch_rows: int = 256_000
    """Rows of a batch, at most; fewer where the data give less than `batches` of them."""
    batches: int = 64
    """Batches of an epoch, at least."""
    epochs: int = 150
    """Passes over the training rows, at most."""
    plateau_factor: float = 0.5
    """Learning rate factor after a plateau, 1."""
    plateau_patience: int = 10
    """Epochs without a better validation loss before the learning rate falls."""
    patience: int = 20
    """Epochs without a better validation loss before training stops."""
    save_every: int = 10
    """Epochs between two checkpoints, where a folder is given; the last epoch is always kept."""


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


def batch_size(rows: int, config: TrainConfig) -> int:
    """Rows of a batch: `batch_rows`, or what gives `batches` batches where the data are fewer."""
    return max(1, min(config.batch_rows, rows // config.batches))


def rows(data: Data) -> int:
    """Number of rows."""
    return jax.tree.leaves(data.rows)[0].shape[0]


def _take(data: Data, index: Int[Array, "row"]) -> Data:
    return data._replace(rows=jax.tree.map(lambda leaf: leaf[index], data.rows))


def _evaluate(loss, variables, data, batch):
    """Mean loss over all rows, in batches; the last is filled up with rows that do not count."""
    n = rows(data)

    def _step(total, index):
        each, _ = loss(None, variables, _take(data, jnp.minimum(index, n - 1)))
        return total + jnp.where(index < n, each, 0.0).sum(), None

    index = jnp.arange(-(-n // batch) * batch).reshape(-1, batch)
    zero = jnp.zeros((), jax.tree.leaves(variables)[0].dtype)
    return jax.lax.scan(_step, zero, index)[0] / n


def _epoch(loss, optimiser, plateau, batch, key, state, training, validation):
    """State after one pass over the training rows, the validation loss taken at its end."""
    n = rows(training)
    key_order, key_drop = jax.random.split(key)
    batches = n // batch
    order = jax.random.permutation(key_order, n)[: batches * batch].reshape(batches, batch)

    def _step(carry, item):
        variables, opt_state = carry
        index, number = item

        def _mean(params):
            each, stats = loss(
                jax.random.fold_in(key_drop, number),
                Variables(params, variables.batch_stats),
                _take(training, index),
            )
            return each.mean(), stats

        (value, stats), grads = jax.value_and_grad(_mean, has_aux=True)(variables.params)
        # optax mixes Python and array scalars of other types, which strict promotion forbids
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            updates, opt_state = optimiser.update(grads, opt_state, variables.params)
            updates = jax.tree.map(lambda u: (u * state.plateau.scale).astype(u.dtype), updates)
            params = optax.apply_updates(variables.params, updates)
        return (Variables(params, stats), opt_state), value

    (variables, opt_state), values = jax.lax.scan(
        _step, (state.variables, state.opt_state), (order, jnp.arange(batches))
    )
    value = _evaluate(loss, variables, validation, batch)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        _, plateau_state = plateau.update(variables.params, state.plateau, value=value)
        plateau_state = jax.tree.map(
            lambda new, old: new.astype(old.dtype), plateau_state, state.plateau
        )
    better = value < state.best_loss
    return State(
        variables=variables,
        opt_state=opt_state,
        plateau=plateau_state,
        best=jax.tree.map(lambda new, old: jnp.where(better, new, old), variables, state.best),
        best_loss=jnp.where(better, value, state.best_loss),
        best_epoch=jnp.where(better, state.epoch, state.best_epoch),
        epoch=state.epoch + 1,
        history=state.history.at[state.epoch].set(jnp.stack([values.mean(), value])),
    )


def fit(
    key: Key,
    loss: Loss,
    variables: Variables,
    training: Data,
    validation: Data,
    *,
    config: TrainConfig,
    folder: Path | None = None,
    label: str = "training",
) -> State:
    """State whose `best` minimises the mean loss on the validation rows.

    Args:
      key: consumed; epoch k uses `fold_in(key, k)`, so a resumed run equals an unbroken one.
      loss: see `Loss`.
      variables: where to start.
      training: rows of training pixels.
      validation: rows of validation pixels; they decide learning rate, stopping and the best epoch.
      config: see `TrainConfig`.
      folder: checkpoints go there and are resumed from there.
      label: what the progress bar and the log say.

    Raises:
      ValueError: no training or no validation row.
    """
    n, m = rows(training), rows(validation)
    if n == 0 or m == 0:
        raise ValueError(
            f"{label}: got {n} training and {m} validation rows, expected some of each"
        )
    batch = batch_size(n, config)
    log.info("%s: %d rows in batches of %d, %d validation rows", label, n, batch, m)
    optimiser, plateau = _optimiser(config, n // batch)
    dtype = jax.tree.leaves(variables)[0].dtype
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        state = State(
            variables=variables,
            opt_state=optimiser.init(variables.params),
            plateau=plateau.init(variables.params),
            best=variables,
            best_loss=jnp.array(jnp.inf, dtype),
            best_epoch=jnp.array(0, jnp.int32),
            epoch=jnp.array(0, jnp.int32),
            history=jnp.full((config.epochs, 2), jnp.nan, dtype),
        )
    epoch = jax.jit(
        lambda key, state, training, validation: _epoch(
            loss, optimiser, plateau, batch, key, state, training, validation
        )
    )
    manager = None if folder is None else _manager(folder)
    first = 0
    if manager is not None and manager.latest_step() is not None:
        first = manager.latest_step() + 1
        state = manager.restore(first - 1, args=ocp.args.StandardRestore(state))
        log.info("%s: resumed after epoch %d", label, first - 1)
    epochs = bar(range(first, config.epochs), label, "epoch")
    for k in epochs:
        if k - int(state.best_epoch) > config.patience:
            log.info("%s: stopped before epoch %d, best %d", label, k, int(state.best_epoch))
            break
        state = epoch(jax.random.fold_in(key, k), state, training, validation)
        epochs.set_postfix(validation=f"{float(state.history[k, 1]):.4f}")
        last = k + 1 == config.epochs or k - int(state.best_epoch) > config.patience
        if manager is not None and (last or (k + 1) % config.save_every == 0):
            manager.save(k, args=ocp.args.StandardSave(state))
    epochs.close()
    if manager is not None:
        manager.close()
    if not jnp.isfinite(state.best_loss):
        raise ValueError(f"{label}: validation loss: got none that is finite, expected some")
    log.info("%s: best validation loss %.5f", label, float(state.best_loss))
    return state


def _optimiser(config: TrainConfig, steps: int):
    """AdamW, and what lowers its rate on a plateau (of a cosine: never); `steps` an epoch."""
    rate, patience = config.learning_rate, config.plateau_patience
    if config.schedule == "cosine":
        steps *= config.epochs
        rate = optax.warmup_cosine_decay_schedule(0.0, rate, max(1, steps // 20), max(2, steps))
        patience = config.epochs + 1
    optimiser = optax.adamw(rate, weight_decay=config.weight_decay)
    if config.clip is not None:
        optimiser = optax.chain(optax.clip_by_global_norm(config.clip), optimiser)
    plateau = optax.contrib.reduce_on_plateau(factor=config.plateau_factor, patience=patience)
    return optimiser, plateau


def _manager(folder: Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    return ocp.CheckpointManager(folder.resolve(), options=options)


def save(folder: Path, tree: PyTree) -> None:
    """Write a pytree of arrays to `folder` (orbax), replacing what is there."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.resolve(), tree, force=True)


def restore(folder: Path, like: PyTree) -> PyTree:
    """Pytree written by `save`, with the structure, shapes and types of `like`."""
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(folder.resolve(), jax.tree.map(np.asarray, like))
