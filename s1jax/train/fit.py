"""Epoch after epoch, until validation says that it is enough; what is kept on the way."""

import logging
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from s1jax.arrays import DAMAGED, line_of
from s1jax.chunks import shape
from s1jax.progress import bar
from s1jax.train.config import TrainConfig, batch_size, plan
from s1jax.train.epoch import Data, Loss, State, Variables, epoch, optimiser_of, rows, take
from s1jax.types import Key

log = logging.getLogger("s1jax")


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
      loss: see `Loss`; the same object where the same is to be computed, or it is compiled anew.
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
    planned, batches = plan(n, config)
    log.info("%s: %d rows in batches of %d, %d validation rows", label, n, batch, m)
    state = _start(variables, config=config)
    training, validation = _padded(training), _padded(validation)
    counts = tuple(jnp.asarray(count, jnp.int32) for count in (batches, planned, m))
    manager = None if folder is None else manager_of(folder)
    first = 0
    if manager is not None and manager.latest_step() is not None:
        first = manager.latest_step() + 1
        state = _resumed(folder, manager, first - 1, state)
        log.info("%s: resumed after epoch %d", label, first - 1)
    epochs = bar(range(first, planned), label, "epoch")
    for k in epochs:
        if k - int(state.best_epoch) > config.patience:
            log.info("%s: stopped before epoch %d, best %d", label, k, int(state.best_epoch))
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
        raise ValueError(f"{label}: validation loss: got none that is finite, expected some")
    log.info("%s: best validation loss %.5f", label, float(state.best_loss))
    return state


def _resumed(folder: Path, manager: ocp.CheckpointManager, last: int, like: State) -> State:
    """The state after epoch `last`.

    Raises:
      ValueError: a checkpoint that is damaged, or of another training.
    """
    remedy = f"expected that of this training; remove {folder} to train anew"
    try:
        state = manager.restore(last, args=ocp.args.StandardRestore(like))
    except DAMAGED as error:
        got = f"a checkpoint of epoch {last} that does not read ({line_of(error)})"
        raise ValueError(f"{folder}: got {got}, {remedy}") from None
    finite = all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state[:2]))
    if int(state.epoch) != last + 1 or not finite:
        got = f"a checkpoint of epoch {last} with weights that are not finite or of another epoch"
        raise ValueError(f"{folder}: got {got}, {remedy}")
    return state


# compiled whole: run one operation after the other, the compiling of each would take seconds
@partial(jax.jit, static_argnames="config")
def _start(variables: Variables, *, config: TrainConfig) -> State:
    """Before the first pass."""
    optimiser, plateau = optimiser_of(config)
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


def _padded(data: Data) -> Data:
    """The rows up to a rounded number, filled up with copies of the last."""
    n = rows(data)
    index = np.minimum(np.arange(shape(n, most=1 << 40)), n - 1)
    return take(data, jnp.asarray(index))


def _order(key: Key, n: int, batch: int, batches: int) -> np.ndarray:
    """The rows of each batch of a pass, in an order drawn from the key."""
    drawn = np.random.default_rng(np.asarray(jax.random.key_data(key))).permutation(n)
    order = np.zeros((shape(batches, most=1 << 40), batch), np.int32)
    order[:batches] = drawn[: batches * batch].reshape(batches, batch)
    return order


def manager_of(folder: Path) -> ocp.CheckpointManager:
    """Keeper of the last checkpoint in `folder`."""
    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    return ocp.CheckpointManager(folder.resolve(), options=options)
