"""The weights that s1jax ships: small, of the default network, and they fill an unseen region."""

import dataclasses
import hashlib
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import s1jax
from s1jax import cube, networks, quality, saving, simulate
from s1jax.estimators import TRANSFER_INFLATION, Calibration
from s1jax.extrapolation import PRIOR
from s1jax.networks import CnpConfig, SequenceParams, pretrained
from s1jax.networks.model import init
from s1jax.networks.pretrained import FOLDER, write
from tests.worlds.sequence import CNP, world


def test_write_and_read_again(tmp_path):
    start = init(jax.random.key(0), CNP)
    bands = Calibration(jnp.array([1.5, 2.0]), jnp.array([0.0, 0.1]), jnp.array([0.1, 0.2]))
    params = SequenceParams(CNP, start, calibration=bands)
    write(tmp_path, params, {"r2": 0.5})
    found = pretrained(CNP, folder=tmp_path)
    np.testing.assert_array_equal(found.mixture, TRANSFER_INFLATION)
    found = dataclasses.replace(found, mixture=params.mixture)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)
    assert json.loads((tmp_path / "cnp.json").read_text())["scores"] == {"r2": 0.5}
    with pytest.raises(ValueError, match="width: got 48, expected 16 of the shipped weights"):
        pretrained(CnpConfig(), folder=tmp_path)


def test_shipped_weights_are_small_and_need_to_be_told_of_the_radar():
    files = sorted(path.name for path in FOLDER.iterdir() if path.suffix != ".py")
    assert files == ["cnp.json", "cnp.npz"]
    assert sum((FOLDER / name).stat().st_size for name in files) < 1e6
    params = s1jax.pretrained()
    series, _ = world(0, 4)
    with pytest.raises(ValueError, match="moments of the radar: got none"):
        networks.predict(params, series, series.day)


def test_a_map_by_the_shipped_weights_says_what_they_know():
    about = networks.about_pretrained()
    assert set(about) == {"method", "weights", "trained_on"}
    assert "simulated rice alone, 120,000 pixels of 40 regions" in about["trained_on"]
    content = (FOLDER / "cnp.npz").read_bytes()
    assert hashlib.sha256(content).hexdigest() in about["weights"]


@pytest.mark.slow
def test_fills_an_unseen_region_without_any_training():
    scene = simulate.scene(jax.random.key(7), simulate.SceneConfig(height=24, width=24))
    ds = cube.despeckle(cube.open_cube(simulate.to_dataset(scene)))
    series, pixel = cube.to_series(ds)
    truth = cube.at_pixels(ds, "truth", pixel)
    params = networks.adapt(s1jax.pretrained(), series)
    told = networks.predict(params, series, series.day)
    gap = ~series.ndvi_valid
    error = (np.asarray(told.mean) - truth)[gap]
    assert 1 - (error**2).mean() / truth[gap].var() > 0.75
    inside = np.abs(error) < 1.645 * np.asarray(told.std)[gap]
    assert 0.75 < inside.mean() < 0.98


@pytest.mark.slow
def test_radar_alone_is_enough_and_more_orbits_are_told_what_to_do(caplog):
    series, _ = world(0, 12)
    bare = series._replace(ndvi_valid=series.ndvi_valid & False)
    blank = bare._replace(
        radar=np.where(bare.radar_valid[..., None, :], bare.radar, np.float32(np.nan)),
        ndvi=np.full_like(bare.ndvi, np.nan),
    )
    params = networks.adapt(s1jax.pretrained(), blank)
    told = networks.predict(params, blank, blank.day)
    chex.assert_tree_all_finite(told)
    assert params.level is PRIOR
    # the last pixel has no radar either
    assert told.quality.tolist() == [0] * 11 + [quality.NO_DATA]
    assert np.median(told.std[:-1]) < np.median(told.std[-1])
    far = networks.predict(params, blank, blank.day[-1:] + np.float32(365.0))
    assert (far.std >= 0.9 * 0.25).all()
    for learns in (
        lambda: networks.fine_tune(jax.random.key(0), params, bare, bare),
        lambda: networks.mlp(networks.MlpConfig()).fit(jax.random.key(0), bare, bare),
    ):
        with pytest.raises(
            ValueError, match=r"without labels, networks.adapt and networks.predict"
        ):
            learns()
    orbits = [0, 1, 0, 1, 0, 1, 0, 1]
    four = series._replace(
        radar=series.radar[..., orbits], radar_valid=series.radar_valid[..., orbits]
    )
    message = "channels: got 8, expected 2 or 4: .*; cube.align_cube joins further orbits"
    for asks in (
        lambda: networks.adapt(params, four),
        lambda: networks.predict(params, four, four.day),
        lambda: networks.sequence(CNP).fit(jax.random.key(0), four, four),
    ):
        with pytest.raises(ValueError, match=message):
            asks()


def test_what_was_adapted_is_kept_and_loads_with_nothing_else(tmp_path):
    series, _ = world(0, 30)
    start = SequenceParams(CNP, init(jax.random.key(0), CNP))
    with pytest.raises(ValueError, match=r"moments: got none, .*`networks.adapt`"):
        saving.save(start, tmp_path / "net")
    params = networks.adapt(start, series)
    saving.save(params, tmp_path / "net")
    again = saving.load(tmp_path / "net")
    assert again.history is None
    told = networks.predict(again, series, series.day)
    expected = networks.predict(params, series, series.day)
    for a, b in zip(told, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_goes_on_from_them():
    config = CnpConfig(train=dataclasses.replace(CnpConfig().train, epochs=1, learning_rate=1e-9))
    series, _ = world(0, 40)
    found = networks.sequence(config).fit(jax.random.key(0), series, series)
    shipped = s1jax.pretrained()
    for a, b in zip(
        jax.tree.leaves(found.variables), jax.tree.leaves(shipped.variables), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)
