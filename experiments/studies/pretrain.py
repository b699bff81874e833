"""Pre-training of `cnp` on simulated regions: the weights that s1jax ships.

Command: python -m experiments.studies.pretrain                (simulates, trains, writes)
Cost: 6 minutes to simulate and 10 to train on 2 cores; the simulated pixels are kept in --bank and
used again.
Writes cnp.npz and cnp.json (configuration, pixels, validation loss) to --out, by default where the
package reads them.
"""

import logging
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from experiments.protocol import data as datasets
from experiments.report.files import fingerprint
from experiments.studies import command
from s1jax import arrays, cube, files, metrics
from s1jax.batching import bar, map_chunks, titled
from s1jax.commands import endings
from s1jax.estimators import TRANSFER_INFLATION, Calibration, label_noise
from s1jax.masking import sample_training_mask
from s1jax.networks import CnpConfig, SequenceParams
from s1jax.networks.inputs import NetworkInput, moments, network_input, standardise, take_pixels
from s1jax.networks.model import apply_network, init, physical
from s1jax.networks.pretrained import FOLDER, write
from s1jax.networks.sequence import train
from s1jax.simulate import SceneConfig
from s1jax.train import TrainConfig, Variables

_DECIDING = 2
"""Regions beyond those of the training that decide the best epoch."""
_SCORES = ("r2", "rmse", "coverage90")
_LARGEST = 2**32
"""Bytes of a region in the bank, at most."""
_FIRST_KEY = 1000
"""Keys of the regions; scenes that anything is scored on have small ones."""


@dataclass(frozen=True)
class Pretrain:
    """Pre-train the conditional network on regions that only the simulator knows."""

    regions: int = 40
    """Simulated regions to train on."""
    held: int = 8
    """Regions beyond them: two decide the best epoch, all set the bands, the others the scores."""
    pixels: int = 3000
    """Pixels of each, at most."""
    size: int = 80
    """Rows and columns of a region, pixels."""
    bank: Path = Path("results/pretrain-bank")
    """Folder that keeps the simulated pixels."""
    out: Path = FOLDER
    """Folder for the weights and their card."""
    seed: int = 0
    """Of the training."""
    cnp: CnpConfig = field(
        default_factory=lambda: CnpConfig(
            pretrained=False,
            train=TrainConfig(
                learning_rate=2e-3,
                schedule="cosine",
                clip=1.0,
                batch_rows=128,
                epochs=4,
                save_every=1,
            ),
        )
    )
    """The network and its training."""


def region(number: int, size: int) -> SceneConfig:
    """Constants of a region, drawn around those of the simulator by its number alone."""
    rng = np.random.default_rng([_FIRST_KEY, number])

    def _about(centre, spread, low=0.0):
        return float(max(centre + spread * rng.normal(), low))

    third = rng.dirichlet((1.4, 1.0, 1.6))
    third = third / third.sum()
    shift = rng.normal(0.0, 10.0, 3)
    planting = np.sort(np.array(SceneConfig.planting_day) + shift)
    return SceneConfig(
        height=size,
        width=size,
        pixel_m=float(rng.choice([20.0, 50.0])),
        step=int(rng.choice([10, 12, 12])),
        orbits="apart" if rng.random() < 0.5 else "mean",
        planting_day=tuple(map(float, planting)),
        calendar_shift_days=float(rng.uniform(-180.0, 180.0)),
        block_std_days=_about(9.0, 3.0, 2.0),
        field_std_days=_about(7.0, 3.0, 2.0),
        year_std_days=_about(9.0, 3.0, 2.0),
        duration_days=_about(103.0, 7.0, 80.0),
        third_season=(float(third[0]), float(third[1]), float(1.0 - third[0] - third[1])),
        lai=_about(4.3, 0.7, 2.0),
        lai_std=_about(0.9, 0.2, 0.3),
        failure=float(rng.uniform(0.02, 0.12)),
        looks=float(rng.uniform(4.0, 20.0)),
        roughness_db=_about(2.1, 0.5, 0.8),
        texture_db=_about(0.9, 0.3, 0.2),
        interception_db=_about(0.5, 0.2),
        incidence_deg=(float(rng.uniform(31.0, 45.0)), float(rng.uniform(31.0, 45.0))),
        pass_missing=float(rng.uniform(0.02, 0.2)),
        cloud_dry=float(rng.uniform(0.25, 0.5)),
        cloud_wet=float(rng.uniform(0.5, 0.75)),
        haze=_about(0.25, 0.1, 0.05),
        missed_thin=float(rng.uniform(0.15, 0.5)),
        missed_thick=float(rng.uniform(0.0, 0.06)),
        missed_shadow=float(rng.uniform(0.15, 0.5)),
    )


def simulated(config: Pretrain, number: int) -> NetworkInput:
    """Pixels of a region as a network reads them, from the bank or simulated."""
    constants = region(number, config.size)
    path = config.bank / f"region-{number:03d}-{fingerprint(constants, config.pixels)}.npz"
    if path.is_file():
        return NetworkInput(**arrays.read(path, NetworkInput._fields, limit=_LARGEST))
    ds = cube.despeckle(datasets.simulated(constants, _FIRST_KEY + number))
    series, pixel = cube.to_series(ds)
    rng = np.random.default_rng([_FIRST_KEY, number, 1])
    some = np.sort(rng.permutation(len(pixel))[: config.pixels])
    truth = cube.at_pixels(ds, "truth", pixel[some])
    inputs = network_input(series.take(some))._replace(truth=truth)
    # every region is standardised by itself, as a user's is by `adapt`
    inputs = NetworkInput(*map(np.asarray, standardise(inputs, moments(inputs))))
    config.bank.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as part, part.open("wb") as file:
        np.savez(file, **inputs._asdict())
    return inputs


def bank(config: Pretrain, numbers: range) -> NetworkInput:
    """Pixels of several regions, one after the other."""
    parts = [simulated(config, k) for k in bar(numbers, "regions", "region")]
    days = [np.repeat(part.day, len(part.ndvi), axis=0) for part in parts]
    leaves = [np.concatenate(leaf) for leaf in zip(*(part[1:] for part in parts), strict=True)]
    return NetworkInput(*map(jnp.asarray, (np.concatenate(days), *leaves)))


def held_out(
    config: CnpConfig,
    variables: Variables,
    held: NetworkInput,
    unseen: Bool[np.ndarray, "pixel"],
) -> tuple[Calibration, dict[str, float]]:
    """Calibration of the weights as they are shipped, and their scores in other simulated regions.

    std is as trained on the truth; the noise is what labels need beside it; both without and with
    some NDVI of the pixel, and both `TRANSFER_INFLATION` times as wide, since what they are shipped
    to is no simulated region. Scores are as trained: R2 and coverage of the 90 % band against the
    truth of dates whose NDVI was withheld, of `unseen` pixels: those of regions that have decided
    nothing.
    """
    mixture = jax.jit(lambda part, visible: apply_network(config, variables, part, visible))
    noise, scores = [], {}
    for ndvi, name in enumerate(("no_ndvi", "some_ndvi")):

        def _one(index, ndvi=ndvi):
            part = take_pixels(held, index)
            mask = sample_training_mask(jax.random.key(0), *part.label.shape)
            visible = part.label & ~mask if ndvi else jnp.zeros_like(part.label)
            mean, std = (leaf.T for leaf in physical(mixture(part, visible)))
            some = visible.any(1) if ndvi else jnp.ones(len(visible), bool)
            return mean, std, part.ndvi, part.label, part.truth, ~visible & some[:, None]

        index = np.arange(len(held.ndvi))
        mean, std, label, valid, truth, queried = map_chunks(
            _one, index, chunk=config.chunk, label="held out"
        )
        noise.append(label_noise(np.abs(mean - label), std, queried & valid))
        where = queried & unseen[:, None] & np.isfinite(truth)
        of_truth = metrics.scores(metrics.statistics(mean, std, truth, where))
        scores |= {f"{score}_{name}": round(float(of_truth[score]), 4) for score in _SCORES}
    # whatever they are shipped to is another region
    wide = TRANSFER_INFLATION * np.array([(1.0, 1.0), (0.0, 0.0), noise], np.float32)
    return Calibration(*map(jnp.asarray, wide)), scores


def main(config: Pretrain) -> Path:
    """The folder with the weights."""
    if config.held <= _DECIDING:
        raise ValueError(f"held: got {config.held} regions, expected more than {_DECIDING}")
    with ExitStack() as stack:
        for folder in {config.out.resolve(), config.bank.resolve()}:
            stack.enter_context(endings.writing(folder))
        _pretrain(config)
    return config.out


def _pretrain(config: Pretrain) -> None:
    started = time.perf_counter()
    training = bank(config, range(config.regions))
    validation = bank(config, range(config.regions, config.regions + _DECIDING))
    seconds = time.perf_counter() - started
    print(f"{len(training.ndvi):,} pixels of {config.regions} regions, {seconds:.0f} s", flush=True)
    key_start, key_train = jax.random.split(jax.random.key(config.seed))
    with titled("pre-training"):
        start = init(key_start, config.cnp)
        state = train(key_train, config.cnp, training, validation, start)
    held = bank(config, range(config.regions, config.regions + config.held))
    unseen = np.arange(len(held.ndvi)) >= len(validation.ndvi)
    calibration, scores = held_out(config.cnp, state.best, held, unseen)
    about = {
        "pixels": len(training.ndvi),
        "regions": config.regions,
        "size": config.size,
        "seed": config.seed,
        "best_epoch": int(state.best_epoch),
        "validation_loss": float(state.best_loss),
        "seconds": round(time.perf_counter() - started),
    }
    params = SequenceParams(config.cnp, state.best, calibration=calibration)
    write(config.out, params, about | scores)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    sys.exit(command(Pretrain, main))
