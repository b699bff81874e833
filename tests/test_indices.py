"""Indices against values worked out by hand, and laws."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1jax import indices

power = st.floats(1e-4, 10.0)


def test_values_by_hand():
    vv, vh = jnp.array(0.1), jnp.array(0.02)
    assert float(indices.to_db(vv)) == pytest.approx(-10.0, abs=1e-5)
    assert float(indices.rvi(vv, vh)) == pytest.approx(4 * 0.02 / 0.12, rel=1e-6)
    assert float(indices.cross_ratio(vv, vh)) == pytest.approx(0.2, rel=1e-6)
    assert float(indices.dprvi(vv, vh)) == pytest.approx(0.2 * 3.2 / 1.44, rel=1e-6)
    assert float(indices.ndvi(jnp.array(0.05), jnp.array(0.35))) == pytest.approx(0.75, rel=1e-6)


def test_ends_of_the_ranges():
    one, none = jnp.array(1.0), jnp.array(0.0)
    assert float(indices.rvi(one, none)) == 0.0
    assert float(indices.rvi(none, one)) == 4.0
    assert float(indices.dprvi(one, one)) == 1.0
    assert float(indices.dprvi(one, none)) == 0.0


@settings(max_examples=30, deadline=None)
@given(vv=power, vh=power)
def test_rvi_stays_in_its_range_in_linear_power(vv, vh):
    assert 0.0 <= float(indices.rvi(jnp.float32(vv), jnp.float32(vh))) <= 4.0
    assert 0.0 <= float(indices.dprvi(jnp.float32(vv), jnp.float32(vh))) <= 1.0


def test_decibels_go_back(x64):
    db = jnp.linspace(-30.0, 5.0, 50)
    back = indices.to_db(indices.from_db(db))
    np.testing.assert_allclose(back, db, atol=1e-12 if x64 else 2e-5)
    assert back.dtype == (jnp.float64 if x64 else jnp.float32)
