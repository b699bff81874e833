"""The Estimators of a configuration are set up as the split asks."""

import dataclasses

import pytest

from experiments.protocol import head_to_head as module
from experiments.protocol.config import METHODS, Config, complete
from experiments.protocol.head_to_head import methods
from experiments.studies.compare import Compare
from s1jax.estimators import TRANSFER_INFLATION
from s1jax.methods import method_of
from s1jax.types import Estimator


@pytest.mark.parametrize(
    ("split", "factor"), [("blocks", 1.0), ("district", 1.25), ("season", 1.25)]
)
def test_every_band_is_inflated_where_another_region_is_predicted(split, factor, monkeypatch):
    options, inflations = {}, []

    def _recording(name):
        def _make(given):
            options[name] = given
            return Estimator(None, None)

        return method_of(name)._replace(make=_make)

    monkeypatch.setattr(module, "method_of", _recording)
    monkeypatch.setattr(module, "calibrated", lambda _, inflation: inflations.append(inflation))
    made = methods(complete(Config(methods=METHODS, split=split)))
    assert [method.name for method in made] == list(METHODS)
    ensemble, switch = options["ensemble"], options["switch"]
    bands = [*options.values(), ensemble.cnp, ensemble.hybrid, switch.network]
    factors = [one.inflation for one in bands if hasattr(one, "inflation")]
    assert len(factors) == 9 + 3
    for method in made:
        if method.name in ("hybrid", "ensemble"):
            method.made_of(*[Estimator(None, None)] * len(method.of))
    assert {*factors, *inflations} == {factor}
    assert factor in (1.0, TRANSFER_INFLATION)


@pytest.mark.parametrize("config", [Config(), Compare().config], ids=["run", "compare"])
def test_one_fit_serves_all_methods_that_are_made_of_it(config):
    config = dataclasses.replace(config, methods=METHODS)
    of = {method.name: method.of for method in methods(complete(config))}
    assert of["hybrid"] == ("tcn_s1",)
    assert of["switch"] == ("tcn_s1", "mogpr")
    assert of["ensemble"] == ("cnp", "hybrid")
    assert config.cnp.train == config.tcn_s1.train
