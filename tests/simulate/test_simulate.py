"""The simulated scene: the statistics of Demak, the faults of its export, and the scene's laws."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax import features, networks
from s1jax.simulate import SceneConfig, scene, truth
from s1jax.train import TrainConfig
from tests.worlds.series import stacked

SMALL = SceneConfig(height=96, width=112)
EXPORTED = dataclasses.replace(SMALL, mode="as_exported")


@pytest.fixture(scope="module")
def clean():
    return scene(jax.random.key(0), SMALL)


@pytest.fixture(scope="module")
def exported():
    return [scene(jax.random.key(seed), EXPORTED) for seed in range(3)]


def paddy_rows(made, y):
    """VV, VH in dB and `y` on paddy pixels where all three are valid and the period is not dead."""
    columns = [a[:, made.region.mask].ravel() for a in (made.vv_db, made.vh_db, y)]
    keep = np.isfinite(columns).all(0) & (columns[0] != 0.0)
    return [column[keep] for column in columns]


BASELINE = networks.Mlp3Config(train=TrainConfig(learning_rate=3e-3, epochs=15, patience=15))


def baseline(made, pixels=500):
    """R2 and MAE of VV, VH, RVI -> NDVI by a 64-32 net, scored on its own training rows."""
    chosen = np.flatnonzero(made.region.mask.ravel())
    chosen = np.random.default_rng(0).permutation(chosen)[:pixels]
    value = np.stack([a.reshape(len(made.day), -1).T[chosen] for a in made[1:4]], -1)
    valid = np.isfinite(value) & (value[..., :1] != 0.0)
    value = np.where(valid, value, 0).astype(np.float32)
    series = stacked(made.day.astype(np.float32), value, valid)
    estimator = networks.mlp(BASELINE)
    params = estimator.fit(jax.random.key(0), series, series)  # training = test, as published
    guess = np.asarray(estimator.predict(params, series, series.day).mean)[valid.all(-1)]
    y = series.ndvi[valid.all(-1)].astype(np.float64)
    return 1.0 - np.mean((guess - y) ** 2) / y.var(), np.abs(guess - y).mean()


@pytest.mark.slow
def test_clean_statistics(clean):
    vv, vh, ndvi = paddy_rows(clean, clean.ndvi)
    assert ndvi.mean() == pytest.approx(0.48, abs=0.06)
    assert ndvi.std() == pytest.approx(0.24, abs=0.04)
    observed = np.isfinite(clean.ndvi[:, clean.region.mask])
    assert 0.45 < observed.mean() < 0.65
    true = clean.truth[:, clean.region.mask]
    assert true.mean() == pytest.approx(0.52, abs=0.04)
    assert true.std() == pytest.approx(0.26, abs=0.03)
    assert vv.mean() == pytest.approx(-10.4, abs=0.7)
    assert vh.mean() == pytest.approx(-18.1, abs=0.7)
    error = (clean.ndvi[:, clean.region.mask] - true)[observed]
    assert error.mean() == pytest.approx(-0.04, abs=0.03)  # missed cloud pulls labels down
    assert np.sqrt(np.mean(error**2)) == pytest.approx(0.10, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_as_exported_baseline(exported, seed):
    made = exported[seed]
    _, _, ndvi = paddy_rows(made, made.ndvi)
    assert 0.13 < ndvi.mean() < 0.19
    assert 0.11 < ndvi.std() < 0.15
    assert ndvi.max() < 0.65
    assert 0.80 < np.isfinite(made.ndvi[:, made.region.mask]).mean() < 0.95
    r2, mae = baseline(made)
    assert r2 == pytest.approx(0.27, abs=0.03)
    assert 0.07 < mae < 0.10


@pytest.mark.slow
def test_exported_gaps_are_the_printed_ones(exported):
    for made in exported:
        empty = np.isneginf(made.ndvi).all((1, 2))
        dead = (made.vv_db == 0.0) & (made.vh_db == 0.0) & (made.ndvi == 0.0)
        gaps = np.flatnonzero(empty | dead.all((1, 2))) + 1
        np.testing.assert_array_equal(gaps, [6, 11, 12, 33, 34, 36, 38, 40, 43])
        np.testing.assert_array_equal(np.flatnonzero(dead.any((1, 2))) + 1, [43])
        assert np.isfinite(made.vv_db).all()
        assert np.isfinite(made.vh_db).all()
        assert np.isfinite(made.ndvi[~empty]).all()
        month = made.day[empty].astype("datetime64[D]").astype("datetime64[M]").astype(int) % 12
        assert np.isin(month, [10, 11, 0, 1, 2]).all()  # November to March


@pytest.mark.slow
def test_same_key_same_scene_and_another_key_another(exported):
    again = scene(jax.random.key(0), EXPORTED)
    for a, b in zip(jax.tree.leaves(exported[0]), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(exported[1].truth, again.truth)
    assert not np.array_equal(exported[1].vv_db, again.vv_db)


@pytest.mark.slow
def test_mode_changes_the_view_not_the_region(clean, exported):
    np.testing.assert_array_equal(exported[0].truth, clean.truth)
    np.testing.assert_array_equal(exported[0].region.mask, clean.region.mask)


@pytest.mark.slow
def test_truth_of_any_day_passes_through_the_period_centres(clean):
    daily = truth(
        clean.region.landscape,
        clean.region.weather,
        jax.numpy.asarray(clean.day[2] + np.arange(3.0)),
    )
    np.testing.assert_allclose(daily[0], clean.truth[2], atol=1e-5)
    assert 0.0 < np.abs(daily[1] - daily[0]).mean() < 0.1


def test_ndvi_and_rvi_keep_their_range(clean):
    for ndvi in (clean.truth, clean.ndvi):
        seen = ndvi[np.isfinite(ndvi)]
        assert seen.min() >= -1.0
        assert seen.max() <= 1.0
    vv, vh, _ = paddy_rows(clean, clean.truth)
    vv, vh = (features.from_db(jnp.asarray(db)) for db in (vv, vh))
    rvi = np.asarray(features.rvi(vv, vh))
    assert rvi.min() > 0.0
    assert rvi.max() < 4.0


def test_days_are_period_centres(clean):
    assert np.datetime64("1970-01-01") + int(clean.day[0]) == np.datetime64("2023-11-07")
    np.testing.assert_array_equal(np.diff(clean.day), SMALL.step)


def test_radar_misses_a_period_only_where_both_passes_are_missing(clean):
    lost = np.isnan(clean.region.plan.s1_day).all(1)
    np.testing.assert_array_equal(np.isnan(clean.vv_db).all((1, 2)), lost)
    np.testing.assert_array_equal(np.isnan(clean.vv_db).any((1, 2)), lost)


def test_mask_is_the_paddy_with_few_errors(clean):
    rice = clean.region.kind == 0
    assert 0.90 < (clean.region.mask == rice).mean() < 0.99
    assert 0.6 < rice.mean() < 0.8
    assert set(np.unique(clean.region.kind)) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"height": 4}, "height"),
        ({"step": 6}, "step"),
        ({"third_season": (0.5, 0.5, 0.5)}, "third_season"),
        ({"periods": 0}, "periods"),
    ],
)
def test_impossible_configurations_are_refused(change, name):
    with pytest.raises(ValueError, match=name):
        dataclasses.replace(SMALL, **change)
