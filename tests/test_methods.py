"""The Estimators of a configuration are set up as the split asks."""

import dataclasses

import pytest

from experiments import methods as module
from experiments.compare import Compare
from experiments.config import METHODS, Config, complete
from experiments.methods import methods
from s1jax import networks
from s1jax.types import Estimator


@pytest.mark.parametrize(
    ("split", "factor"), [("blocks", 1.0), ("district", 1.25), ("season", 1.25)]
)
def test_every_network_is_told_that_it_goes_elsewhere(split, factor, monkeypatch):
    seen = {}

    def _taking(name):
        def _make(*parts, elsewhere=None, **more):
            found = elsewhere if elsewhere is not None else parts[0].elsewhere
            seen.setdefault(name, []).append(found)
            return Estimator(None, None)

        return _make

    monkeypatch.setattr(networks, "sequence", _taking("sequence"))
    monkeypatch.setattr(networks, "cropsar", _taking("cropsar"))
    monkeypatch.setattr(module, "hybrid", _taking("hybrid"))
    monkeypatch.setattr(module, "ensemble", _taking("ensemble"))
    found = methods(complete(Config(methods=METHODS, split=split)))
    assert [method.name for method in found] == list(METHODS)
    told = {name: set(factors) for name, factors in seen.items()}
    assert told == {name: {factor} for name in ("sequence", "cropsar", "hybrid", "ensemble")}
    assert factor in (1.0, networks.ELSEWHERE)


@pytest.mark.parametrize("config", [Config(), Compare().config], ids=["run", "compare"])
def test_what_is_learnt_once_serves_all_that_are_made_of_it(config):
    config = dataclasses.replace(config, methods=METHODS)
    of = {method.name: method.of for method in methods(complete(config))}
    assert of["hybrid"] == ("tcn_s1",)
    assert of["switch"] == ("tcn_s1", "mogpr")
    assert of["ensemble"] == ("cnp", "hybrid")
    assert config.cnp.train == config.tcn_s1.train
