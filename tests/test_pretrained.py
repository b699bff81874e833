"""The weights that s1jax ships: small, of the default network, and they fill an unseen region."""

import dataclasses
import hashlib
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sequence_worlds import CNP, world

import s1jax
from experiments.pretrain import Pretrain, bank, held_out, main, simulated
from s1jax import cube, networks, simulate
from s1jax.networks import CnpConfig, pretrained
from s1jax.networks.pretrained import FOLDER, write


def test_write_and_read_again(tmp_path):
    start = networks.initial(jax.random.key(0), CNP)
    bands = networks.Bands(jnp.array([1.5, 2.0]), jnp.array([0.0, 0.1]), jnp.array([0.1, 0.2]))
    params = networks.SequenceParams(start, None, bands)
    write(tmp_path, CNP, params, {"r2": 0.5})
    found = pretrained(CNP, folder=tmp_path)
    np.testing.assert_array_equal(found.mixture, networks.ELSEWHERE)
    found = found._replace(mixture=params.mixture)
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
        networks.fill(params, series, series.day)


def test_a_map_by_the_shipped_weights_says_what_they_know():
    about = networks.about_pretrained()
    assert set(about) == {"method", "weights", "trained_on"}
    assert "simulated rice alone, 120,000 pixels of 40 regions" in about["trained_on"]
    content = (FOLDER / "cnp.npz").read_bytes()
    assert hashlib.sha256(content).hexdigest() in about["weights"]


def test_fills_an_unseen_region_without_any_training():
    scene = simulate.scene(jax.random.key(7), simulate.SceneConfig(height=24, width=24))
    ds = cube.despeckle(cube.open_cube(cube.from_scene(scene)))
    series, pixel = cube.to_series(ds)
    truth = cube.at_pixels(ds, "truth", pixel)
    params = networks.adapt(s1jax.pretrained(), series)
    told = networks.fill(params, series, series.day)
    gap = ~series.valid[..., -1]
    error = (np.asarray(told.mean) - truth)[gap]
    assert 1 - (error**2).mean() / truth[gap].var() > 0.75
    inside = np.abs(error) < 1.645 * np.asarray(told.std)[gap]
    assert 0.75 < inside.mean() < 0.98


def test_radar_alone_is_enough_and_more_orbits_are_told_what_to_do(caplog):
    series, _ = world(0, 12)
    bare = series._replace(valid=series.valid & np.array([True, True, False]))
    blank = bare._replace(value=np.where(bare.valid, bare.value, np.float32(np.nan)))
    params = networks.adapt(s1jax.pretrained(), blank)
    told = networks.fill(params, blank, blank.day)
    chex.assert_tree_all_finite(told)
    assert params.level is networks.PRIOR
    # the last pixel has no radar either
    assert told.quality.tolist() == [0] * 11 + [networks.NO_DATA]
    assert np.median(told.std[:-1]) < np.median(told.std[-1])
    far = networks.fill(params, blank, blank.day[-1:] + np.float32(365.0))
    assert (far.std >= 0.9 * 0.25).all()
    for learns in (
        lambda: networks.fine_tune(jax.random.key(0), params, bare, bare),
        lambda: networks.mlp(networks.MlpConfig()).fit(jax.random.key(0), bare, bare),
    ):
        with pytest.raises(ValueError, match=r"without labels, networks.adapt and networks.fill"):
            learns()
    orbits = [0, 1, 0, 1, 0, 1, 0, 1, 2]
    four = series._replace(value=series.value[..., orbits], valid=series.valid[..., orbits])
    message = "channels: got 9, expected 3 or 5: .*; cube.align_cube joins further orbits"
    for asks in (
        lambda: networks.adapt(params, four),
        lambda: networks.fill(params, four, four.day),
        lambda: networks.sequence(CNP).fit(jax.random.key(0), four, four),
    ):
        with pytest.raises(ValueError, match=message):
            asks()


def test_what_was_adapted_is_kept_and_loads_with_nothing_else(tmp_path):
    series, _ = world(0, 30)
    start = networks.SequenceParams(networks.initial(jax.random.key(0), CNP), None, networks.PLAIN)
    with pytest.raises(ValueError, match="moments of the radar: got none"):
        networks.save(tmp_path / "net", CNP, start, series)
    params = networks.adapt(start, series)
    networks.save(tmp_path / "net", CNP, params, series)
    told = networks.load(tmp_path / "net")(series, series.day)
    expected = networks.fill(params, series, series.day, config=CNP)
    for a, b in zip(told, expected, strict=True):
        np.testing.assert_array_equal(a, b)


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
    told = networks.fill(networks.adapt(params, series), series, series.day, config=small)
    assert np.isfinite(told.mean).all()
    kept = sorted((tmp_path / "bank").iterdir())
    assert len(kept) == 1 + 3
    assert (np.asarray(params.bands.noise) > 0).all()
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


def test_goes_on_from_them():
    config = CnpConfig(train=dataclasses.replace(CnpConfig().train, epochs=1, learning_rate=1e-9))
    series, _ = world(0, 40)
    found = networks.sequence(config).fit(jax.random.key(0), series, series)
    shipped = s1jax.pretrained()
    for a, b in zip(
        jax.tree.leaves(found.variables), jax.tree.leaves(shipped.variables), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)
