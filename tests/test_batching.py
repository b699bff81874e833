"""Chunks give what the whole gives, with one trace."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax.batching import chunk_size, map_chunks


@pytest.mark.parametrize("chunk", [1, 3, 7, 50])
def test_chunks_equal_the_whole(chunk):
    x, y = np.arange(14.0, dtype=np.float32).reshape(7, 2), np.arange(7)
    function = jax.jit(chex.assert_max_traces(lambda tree: (tree[0] * 2.0, tree[1] + 1), n=1))
    a, b = map_chunks(function, (x, y), chunk=chunk, label="test")
    np.testing.assert_array_equal(a, x * 2)
    np.testing.assert_array_equal(b, y + 1)
    chex.clear_trace_counter()


def test_no_pixel_is_an_error():
    with pytest.raises(ValueError, match="series: got no pixel, expected at least one"):
        map_chunks(lambda x: x, jnp.zeros((0, 3)), chunk=4, label="test")
    with pytest.raises(ValueError, match=r"sizes \[2, 3\]"):
        map_chunks(lambda x: x, (jnp.zeros(2), jnp.zeros(3)), chunk=4, label="test")


def test_few_shapes_hold_any_number_of_pixels():
    sizes = {n: chunk_size(n, most=1000, step=48) for n in range(1, 3000)}
    assert set(sizes.values()) == {48, 96, 192, 384, 768, 960}
    for n, size in sizes.items():
        assert size >= n or size == 960
        assert size == 48 or size == 960 or size < 2 * n
    assert chunk_size(7, most=7) == 7
    assert chunk_size(5, most=100) == 8
    assert chunk_size(5, most=3, step=4) == 4
