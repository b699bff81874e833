"""What MOGPR learnt, to a file and back."""

import jax
import jax.numpy as jnp
import mogpr_worlds as worlds
import numpy as np
import pytest
from mogpr_worlds import DAYS, region

from s1jax import gp
from s1jax.mogpr import Curve, load, posterior, save


def _params(name):
    curve = Curve(DAYS, np.random.default_rng(0).normal(size=(20, 3)))
    root = jnp.asarray(np.linalg.inv(np.eye(10) * 3 + 0.1), jnp.float32)
    prior = gp.Prior(jnp.arange(10, dtype=jnp.float32) / 7, 3 * root, root)
    base = worlds.params(own=name == "own")._replace(widen=jnp.float32(1.1))
    return {
        "plain": base,
        "own": base,
        "curve": base._replace(curve=curve),
        "filtered": base._replace(prior=prior, channel=np.array([-2, -3, -1])),
        "all": base._replace(curve=curve, prior=prior),
    }[name]


@pytest.mark.parametrize("name", ["plain", "own", "curve", "filtered", "all"])
def test_comes_back_to_the_last_bit(tmp_path, name):
    params = _params(name)
    save(params, tmp_path / "region.npz")
    found = load(str(tmp_path / "region.npz"))
    assert jax.tree.structure(found) == jax.tree.structure(params)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(params), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    for part in ("prior", "curve"):
        assert (getattr(found, part) is None) == (getattr(params, part) is None)
    assert isinstance(found.channel, np.ndarray)


def test_what_comes_back_estimates_the_same_bits(tmp_path):
    params = worlds.learnt()
    save(params, tmp_path / "region.npz")
    series, _ = region()
    a, b = (posterior(p, series, DAYS) for p in (params, load(tmp_path / "region.npz")))
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_other_files_are_told(tmp_path):
    with pytest.raises(ValueError, match=r"path: got .*region\.pkl, expected a \.npz file"):
        save(_params("plain"), tmp_path / "region.pkl")
    assert not list(tmp_path.iterdir())
    np.savez(tmp_path / "a.npz", hyper=np.arange(3))
    with pytest.raises(ValueError, match=r"a\.npz: got format 'none', expected 's1jax mogpr"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", format=np.array("s1jax mogpr 0"))
    with pytest.raises(ValueError, match=r"b\.npz: got format 's1jax mogpr 0', expected"):
        load(tmp_path / "b.npz")
    np.save(tmp_path / "c.npy", np.arange(3))
    (tmp_path / "d.npz").write_text("no archive")
    for name in ("c.npy", "d.npz"):
        with pytest.raises(ValueError, match=rf"{name}: expected a \.npz file"):
            load(tmp_path / name)


def test_file_has_the_names_of_the_fields(tmp_path):
    save(_params("all"), tmp_path / "region.npz")
    with np.load(tmp_path / "region.npz", allow_pickle=False) as file:
        names = set(file.files)
        np.testing.assert_array_equal(file["hyper.lengthscale"], [50.0])
    assert {"format", "hyper.noise", "prior.root", "curve.day", "channel", "widen"} <= names
