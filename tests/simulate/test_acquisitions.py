"""Acquisitions are the images that the scene of the same key is composited from."""

import jax
import numpy as np
import pytest

from s1jax import cube, simulate
from s1jax.simulate import SceneConfig
from s1jax.simulate.weather import EXPORTED_DEAD


@pytest.fixture(scope="module", params=["clean", "as_exported"])
def both(request):
    config = SceneConfig(height=16, width=18, periods=12, mode=request.param)
    key = jax.random.key(3)
    return config, simulate.scene(key, config), simulate.acquisitions(key, config)


@pytest.mark.slow
def test_the_scene_is_made_of_them(both):
    config, scene, taken = both
    start = scene.day[0] - config.step / 2
    period = ((taken.day - start) // config.step).astype(int)
    for p in range(config.periods):
        of = period == p
        radar, optical = of & (taken.track > 0), of & (taken.track == 0)
        if config.mode == "as_exported" and p + 1 == EXPORTED_DEAD:
            continue
        for name in ("vv_db", "vh_db"):
            images = 10 ** (getattr(taken, name)[radar].astype(float) / 10)
            made = (
                10 * np.log10(images.mean(0)) if radar.any() else np.full(images.shape[1:], np.nan)
            )
            np.testing.assert_allclose(getattr(scene, name)[p], made, atol=1e-3)
        seen = taken.ndvi[optical]
        none = ~np.isfinite(seen).any(0)
        padded = np.concatenate([seen, np.zeros((1, *seen.shape[1:]))])
        padded[-1][~none] = np.nan
        made = np.nanmedian(padded, axis=0)
        finite = np.isfinite(scene.ndvi[p])
        np.testing.assert_array_equal(finite, ~none)
        np.testing.assert_allclose(scene.ndvi[p][finite], made[finite], atol=1e-5)


@pytest.mark.slow
def test_days_and_tracks(both):
    _, scene, taken = both
    assert (np.diff(taken.day) >= 0).all()
    np.testing.assert_array_equal(taken.region.mask, scene.region.mask)
    passes = np.sort(scene.region.plan.s1_day[np.isfinite(scene.region.plan.s1_day)])
    np.testing.assert_array_equal(taken.day[taken.track > 0], passes)
    assert set(taken.track) == {0, 1, 2}
    assert np.isfinite(taken.truth).all()
    radar = np.isfinite(taken.vv_db).all((1, 2))
    np.testing.assert_array_equal(radar, taken.track > 0)


@pytest.mark.slow
def test_the_border_takes_them():
    config = SceneConfig(height=16, width=18, periods=10)
    taken = simulate.acquisitions(jax.random.key(0), config)
    ds = cube.open_cube(simulate.to_dataset(taken, pixel_m=20.0))
    assert ds.sizes["t"] <= taken.day.size
    aligned = cube.align_cube(ds, start="2023-11-01")
    assert cube.channels(aligned) == ["VV", "VH", "VV_2", "VH_2", "S2ndvi"]
    assert aligned.sizes["t"] == config.periods
    assert float(ds.x[1] - ds.x[0]) == 20.0
    paired = cube.pair_cube(ds, within=3)
    seen = np.isfinite(taken.ndvi).any((1, 2))
    assert paired.sizes["t"] == seen.sum()
