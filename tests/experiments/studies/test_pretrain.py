"""The study that makes the shipped weights, at its smallest."""

import dataclasses
import json

import chex
import numpy as np
import pytest

from experiments.studies.pretrain import Pretrain, bank, held_out, main, simulated
from s1jax import networks
from s1jax.networks import pretrained
from tests.worlds.sequence import CNP, world

pytestmark = pytest.mark.slow


def test_pretrains_at_its_smallest(tmp_path):
    small = dataclasses.replace(CNP, train=dataclasses.replace(CNP.train, epochs=1, batches=2))
    config = Pretrain(
        regions=1, held=3, pixels=40, size=16, bank=tmp_path / "bank", out=tmp_path / "out",
        cnp=small,
    )  # fmt: skip
    assert main(config) == tmp_path / "out"
    card = json.loads((tmp_path / "out" / "cnp.json").read_text())
    assert card["scores"]["pixels"] == 40
    assert np.isfinite(card["scores"]["validation_loss"])
    assert 0 < card["scores"]["coverage90_some_ndvi"] <= 1
    assert card["scores"]["r2_no_ndvi"] < 1
    params = pretrained(small, folder=tmp_path / "out")
    series, _ = world(0, 4)
    told = networks.predict(networks.adapt(params, series), series, series.day)
    assert np.isfinite(told.mean).all()
    kept = sorted((tmp_path / "bank").iterdir())
    assert len(kept) == 1 + 3
    assert (np.asarray(params.calibration.noise) > 0).all()
    found = simulated(config, 0)
    again = np.load(kept[0])
    np.testing.assert_array_equal(found.radar, again["radar"])
    assert np.isfinite(found.truth).all()
    # regions that decided something tell the bands and not the scores
    held = bank(config, range(1, 4))
    rows = np.arange(len(held.ndvi))
    some = held_out(small, params.variables, held, rows >= 80)
    none = held_out(small, params.variables, held, rows < 0)
    every = held_out(small, params.variables, held, rows >= 0)
    # the file keeps the weights in half precision
    assert some[1] == pytest.approx({n: card["scores"][n] for n in some[1]}, abs=1e-3)
    assert abs(every[1]["r2_no_ndvi"] - some[1]["r2_no_ndvi"]) > 5e-3
    assert np.isnan(list(none[1].values())).all()
    chex.assert_trees_all_equal(some[0], none[0])
    with pytest.raises(ValueError, match="held: got 2 regions, expected more than 2"):
        main(dataclasses.replace(config, held=2))
