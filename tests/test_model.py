"""The lines on a postcard: fit, fill, save and load, of every kind of method."""

import json
import shutil

import jax
import numpy as np
import pytest
import xarray as xr

import s1jax
import s1jax.accessor
from s1jax import cube, methods, mogpr, networks, regions, simulate
from s1jax.baselines import linear
from s1jax.model import NAMES, SIZES
from s1jax.train import TrainConfig

TRAIN = TrainConfig(epochs=1, batches=2, batch_rows=64)
SMALL = {"width": 8, "dilations": (1, 2), "train": TRAIN, "pretrained": False, "chunk": 256}
CNP, TCN = networks.CnpConfig(**SMALL), networks.TcnS1Config(**SMALL)
PROCESS = mogpr.MogprConfig(
    latents=1, inputs="none", mean="zero", hyper="region", sample=8, iterations=3
)
HYBRID = methods.HybridConfig(network=TCN, process=PROCESS)
OPTIONS = {
    "climatology": None,
    "linear": None,
    "knn_space": methods.METHODS["knn_space"].options,
    "mlp3": networks.Mlp3Config(train=TRAIN),
    "mogpr": mogpr.MogprConfig(latents=1, hyper="region", inputs="raw", sample=8, iterations=3),
    "cnp": CNP,
    "switch": methods.SwitchConfig(network=TCN, process=PROCESS),
    "ensemble": methods.EnsembleConfig(cnp=CNP, hybrid=HYBRID),
}


@pytest.fixture(scope="module")
def ds():
    config = simulate.SceneConfig(height=24, width=24, periods=20)
    return cube.align_cube(s1jax.open_cube(simulate.cube(config)))


QUICK = ("climatology", "mlp3", "mogpr")
"""The methods whose fit takes a moment; the others are slow tests."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in OPTIONS
    ],
)
def model(request, ds):
    return s1jax.fit(ds, request.param, options=OPTIONS[request.param])


def test_a_saved_model_fills_as_the_model_did(model, ds, tmp_path):
    s1jax.save(model, tmp_path / "model")
    again = s1jax.load(tmp_path / "model")
    assert again[:1] + again[3:] == model[:1] + model[3:]
    filled, expected = s1jax.fill(ds, again), s1jax.fill(ds, model)
    assert set(filled.data_vars) == set(NAMES.values())
    xr.testing.assert_equal(filled, expected)
    inside = ds["mask"].values
    assert np.isfinite(filled["ndvi"].transpose("y", "x", "t").values[inside]).all()
    assert (filled["ndvi_std"].transpose("y", "x", "t").values[inside] > 0).all()
    assert np.isnan(filled["ndvi"].transpose("y", "x", "t").values[~inside]).all()
    assert filled.attrs["s1jax_method"] == f"s1jax.fill, {model.name}"
    s1jax.save(again, tmp_path / "model")  # replaces what it wrote


@pytest.fixture(scope="module")
def process(ds):
    return s1jax.fit(ds, "mogpr", options=OPTIONS["mogpr"])


def test_streamed_is_in_memory_and_tiles_are_the_whole(process, ds, tmp_path):
    whole = s1jax.fill(ds, process)
    for to in (tmp_path / "map.zarr", tmp_path / "map.nc"):
        with s1jax.fill(ds, process, to=to, tile=10) as stored:
            assert set(stored.data_vars) == set(NAMES.values())
            for name in NAMES.values():
                got = stored[name].transpose(*whole[name].dims).values
                np.testing.assert_array_equal(got, whole[name].values, name)
            assert "spatial_ref" in stored.coords


def test_fill_is_the_method_on_the_series(ds):
    model = s1jax.fit(ds, "linear")
    filled = s1jax.fill(ds, model)
    series, pixel = cube.to_series(cube.despeckle(ds, sizes=SIZES))
    estimate = model.predict(series, series.day)
    values = filled["ndvi"].transpose("y", "x", "t").values.reshape(-1, ds.sizes["t"])
    np.testing.assert_array_equal(values[pixel], estimate.mean)


def test_days_are_dates_or_a_period(ds):
    model = s1jax.fit(ds, "climatology")
    every = s1jax.fill(ds, model, days="P10D")["t"].values
    assert every[0] == ds["t"].values[0]
    assert (np.diff(every) == np.timedelta64(10, "D")).all()
    two = ["2024-01-05", "2024-02-07"]
    got = s1jax.fill(ds, model, days=two)["t"].values
    np.testing.assert_array_equal(got, np.array(two, "datetime64[ns]"))
    for wrong in ("P", ["yesterday"], two[::-1]):
        with pytest.raises(ValueError, match=r"days: got "):
            s1jax.fill(ds, model, days=wrong)


def test_the_shipped_weights_need_no_fit_and_no_label(ds):
    bare = ds.assign(S2ndvi=ds["S2ndvi"] * np.float32(np.nan))
    filled = bare.s1jax.fill()
    assert "simulated rice alone" in filled.attrs["s1jax_trained_on"]
    weights = s1jax.networks.about_pretrained()["weights"]
    assert filled.attrs["s1jax_weights"] == weights
    assert "shipped with s1jax, SHA-256 " in weights
    assert np.isfinite(filled["ndvi"].transpose("y", "x", "t").values[ds["mask"].values]).all()
    assert (filled["source"].values[:, ds["mask"].values] == 4).all()
    with pytest.raises(ValueError, match="expected labels to fit"):
        bare.s1jax.fit("linear")


@pytest.mark.parametrize("side", [1, 2, 5])
def test_the_shipped_weights_fill_the_smallest_cube(ds, side):
    row, column = np.argwhere(ds["mask"].values)[0]
    small = ds.isel(y=slice(row, row + side), x=slice(column, column + side))
    filled = s1jax.fill(small)
    inside = filled["ndvi"].transpose("y", "x", "t").values[small["mask"].values]
    assert inside.size
    assert np.isfinite(inside).all()


def test_an_estimator_of_ones_own(ds, tmp_path):
    model = s1jax.fit(ds, linear())
    assert model.name == "custom"
    xr.testing.assert_equal(s1jax.fill(ds, model), s1jax.fill(ds, s1jax.fit(ds, "linear")))
    with pytest.raises(ValueError, match="method: got 'custom'"):
        s1jax.save(model, tmp_path / "model")


def test_what_is_no_model_is_refused(ds, tmp_path):
    with pytest.raises(ValueError, match="method: got 'magic', expected one of climatology"):
        s1jax.fit(ds, "magic")
    with pytest.raises(ValueError, match=r"options: got MogprConfig, expected CnpConfig for cnp"):
        s1jax.fit(ds, "cnp", options=mogpr.MogprConfig())
    with pytest.raises(ValueError, match=r"model: got 'mogpr' \(a method: call fit\)"):
        s1jax.fill(ds, "mogpr")
    with pytest.raises(ValueError, match=r"model: got no .*model.json"):
        s1jax.load(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"got thesis\.txt"):
        s1jax.save(s1jax.fit(ds, "linear"), tmp_path / "other")
    boosting = methods.METHODS["boosting"]
    model = s1jax.Model("boosting", boosting.make(boosting.options), None, boosting.options)
    with pytest.raises(ValueError, match="boosting, whose parameters cannot be saved"):
        s1jax.save(model, tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "expected a model of version 1"),
        ({"kind": "network"}, "expected a model of version 1"),
        ({"method": "magic"}, "method: got 'magic'"),
        ({"method": 3}, "method, trained_on: got 3"),
        ({"method": "cnp"}, "options: got fields"),
        ({"options": {"latents": 1}}, "options: got fields"),
    ],
)
def test_a_forged_card_is_refused(process, tmp_path, change, message):
    s1jax.save(process, tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        s1jax.load(tmp_path / "model")


def test_parameters_of_another_method_are_refused(ds, tmp_path):
    for name in ("linear", "climatology"):
        s1jax.save(s1jax.fit(ds, name), tmp_path / name)
    shutil.copy(tmp_path / "linear" / "params.npz", tmp_path / "climatology" / "params.npz")
    with pytest.raises(ValueError, match=r"got \['mean', 'std'\], expected \['day', 'mean', 'std'"):
        s1jax.load(tmp_path / "climatology")


def test_training_and_validation_lie_apart(ds):
    training, validation = regions.sample(ds, sizes=(3,))
    one, other = (
        {tuple(p) for p in np.asarray(part.position).tolist()} for part in (training, validation)
    )
    assert one
    assert other
    assert not one & other
    assert training.radar.shape[-2] == 2


def test_every_method_of_the_table_is_an_estimator():
    for name, method in methods.METHODS.items():
        made = method.make(method.options)
        assert callable(made.fit), name
        assert callable(made.predict), name
    assert jax.tree.structure(methods.inflated(HYBRID, 1.25)) == jax.tree.structure(HYBRID)
    assert methods.inflated(HYBRID, 1.25).inflation == 1.25
    assert methods.inflated(None, 1.25) is None
