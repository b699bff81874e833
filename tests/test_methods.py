"""The Estimators of a configuration are set up as the split asks."""

import pytest

from experiments import methods as module
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
