"""What MOGPR learnt, to a file and back."""

import io
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s1jax import arrays, gp
from s1jax.mogpr import load, posterior, save
from s1jax.mogpr.config import Curve
from s1jax.types import Series
from tests.worlds import mogpr as worlds
from tests.worlds.mogpr import DAYS, region


def _params(name):
    curve = Curve(DAYS, np.random.default_rng(0).normal(size=(20, 3)))
    root = jnp.asarray(np.linalg.inv(np.eye(10) * 3 + 0.1), jnp.float32)
    prior = gp.Prior(jnp.arange(10, dtype=jnp.float32) / 7, 3 * root, root)
    base = replace(worlds.params(by_pixel=name == "own"), std_factor=jnp.float32(1.1))
    return {
        "plain": base,
        "own": base,
        "curve": replace(base, curve=curve, solver="dense"),
        "filtered": replace(base, prior=prior, inputs=((1, 2), (2, 3)), inducing=7),
        "all": replace(base, curve=curve, prior=prior),
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


@pytest.mark.slow
def test_what_comes_back_estimates_the_same_bits(tmp_path):
    params = worlds.fitted()
    save(params, tmp_path / "region.npz")
    series, _ = region()
    a, b = (posterior(p, series, DAYS) for p in (params, load(tmp_path / "region.npz")))
    jax.tree.map(np.testing.assert_array_equal, a, b)


VERSION_1 = Path(__file__).parents[1] / "data" / "version1"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mogpr_pixel_smooth", "mogpr_none_own"])
def test_files_of_version_1_predict_what_they_did(name, tmp_path):
    stored = np.load(VERSION_1 / "mogpr_expected.npz")
    series = Series(*(stored[leaf] for leaf in Series._fields[:5]))
    params = load(VERSION_1 / f"{name}.npz")
    assert params.inputs == {"mogpr_pixel_smooth": ((1, 0), (1, 1)), "mogpr_none_own": ()}[name]
    assert params.scale_by_pixel == (name == "mogpr_none_own")
    save(params, tmp_path / "again.npz")
    for one in (params, load(tmp_path / "again.npz")):
        estimate = posterior(one, series, stored["days"])
        for part in ("mean", "std", "noise"):
            expected = stored[f"{name}.{part}"]
            np.testing.assert_allclose(getattr(estimate, part), expected, atol=1e-5)


def test_unsound_channels_of_version_1_are_named(tmp_path):
    with np.load(VERSION_1 / "mogpr_pixel_smooth.npz") as file:
        stored = dict(file)
    for channel, message in (
        (np.array([-2.0, -3.0, -1.0]), "channel: got float64 .*, expected integers"),
        (None, "channel: got no such field, expected integers"),
        (np.array([0, 10**6, -1]), "inputs: .*expected different radar channels"),
        (np.array([-1, 0, 1]), "inputs: .*NDVI, last alone"),
        (np.array([0, -(10**6), -1]), "inputs: .*expected different radar channels"),
    ):
        forged = {**stored, "channel": channel}
        np.savez(tmp_path / "a.npz", **{k: v for k, v in forged.items() if v is not None})
        with pytest.raises(ValueError, match=rf"a\.npz: {message}"):
            load(tmp_path / "a.npz")


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
        with pytest.raises(ValueError, match=rf"{name}: got no archive, expected a \.npz file"):
            load(tmp_path / name)


def test_file_has_the_names_of_the_fields(tmp_path):
    save(_params("all"), tmp_path / "region.npz")
    with np.load(tmp_path / "region.npz", allow_pickle=False) as file:
        names = set(file.files)
        np.testing.assert_array_equal(file["hyper.lengthscale"], [50.0])
        assert file["inputs"].tolist() == ["VV1 look0", "VH1 look0", "NDVI"]
    assert {"format", "hyper.noise", "prior.root", "curve.day", "std_factor"} <= names


def _written(tmp_path, **change):
    """A good file with some arrays replaced, or taken out where None."""
    save(_params("all"), tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as file:
        arrays = {**{name: file[name] for name in file.files}, **change}
    path = tmp_path / "forged.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def _with(name, **places):
    """The array of a good file with numbers put in: all, or the first."""

    def _change(array):
        array = np.array(array)
        for place, number in places.items():
            array[... if place == "every" else (0,) * array.ndim] = number
        return array

    return name, _change


def _names(*names):
    return lambda _: np.array(names)


FORGED = {
    "negative length scale": (*_with("hyper.lengthscale", first=-3.0), "above 0"),
    "no kappa": (*_with("hyper.kappa", first=0.0), "above 0"),
    "noise of zero": (*_with("hyper.noise", first=0.0), "above 0"),
    "noise that single precision takes for zero": (
        "hyper.noise",
        lambda a: np.full(a.shape, 1e-200),
        "got 1e-200, expected numbers above 0",
    ),
    "infinite loading": (*_with("hyper.mixing", first=np.inf), "got inf, expected finite"),
    "loading past single precision": (
        "hyper.mixing",
        lambda a: np.full(a.shape, 1e300),
        r"got 1e\+300, expected finite",
    ),
    "NaN level": (*_with("region_mean", first=np.nan), "got nan, expected finite"),
    "std of zero": (*_with("region_std", first=0.0), "above 0"),
    "negative factor": (*_with("std_factor", every=-1.0), "above 0"),
    "NaN prior": (*_with("prior.root", first=np.nan), "got nan, expected finite"),
    "negative precision": (*_with("prior.precision", first=-1.0), "on its diagonal"),
    "days that fall": ("curve.day", lambda a: a[::-1], "do not ascend"),
    "NaN day": (*_with("curve.day", first=np.nan), "got nan, expected finite"),
    "mixing of one axis": ("hyper.mixing", np.ravel, r"got shape \(3,\), expected \(latents"),
    "wide noise": ("hyper.noise", lambda a: np.ones(4), r"got shape \(4,\), expected \(3,\)"),
    "short prior": ("prior.mean", lambda a: a[:4], r"got shape \(4,\), expected \(10,\)"),
    "flat curve": ("curve.value", np.ravel, r"got shape \(60,\), expected \(20, 3\)"),
    "factor for each": ("std_factor", lambda a: np.ones(3), r"got shape \(3,\), expected \(\)"),
    "whole numbers": ("region_mean", lambda a: np.ones(3, int), "got int64, expected real"),
    "inputs as numbers": ("inputs", lambda a: np.arange(3.0), "got float64, expected texts"),
    "truth as a number": (
        "scale_by_pixel",
        lambda a: np.array(1),
        "expected a truth value",
    ),
    "texts": ("region_mean", lambda a: np.array(["a", "b", "c"]), "expected real numbers"),
    "complex": ("region_mean", lambda a: a * 1j, "expected one of numbers"),
    "orbit beyond all": ("inputs", _names("VV1 look0", "VH99 look0", "NDVI"), "expected different"),
    "look beyond all": ("inputs", _names("VV1 look0", "VH1 look12", "NDVI"), "expected different"),
    "channel twice": ("inputs", _names("VV1 look0", "VV1 look0", "NDVI"), "expected different"),
    "NDVI first": ("inputs", _names("NDVI", "VV1 look0", "VH1 look0"), "NDVI, last alone"),
    "no such solver": ("solver", lambda a: np.array("magic"), "got 'magic', expected of"),
    "one inducing day": ("inducing", lambda a: np.array(1), "got 1, expected at least 2"),
    "no noise": ("hyper.noise", None, "got no such field"),
    "no inputs": ("inputs", None, "got no such field"),
    "half a prior": ("prior.root", None, "got no such field"),
    "half a curve": ("curve.day", None, "got no such field"),
    "another field": ("note", lambda a: np.zeros(3), "got an unknown field"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_fields_are_named(tmp_path, name):
    field, change, message = FORGED[name]
    with np.load(_written(tmp_path)) as file:
        array = file[field] if field in file.files else None
    path = _written(tmp_path, **{field: None if change is None else change(array)})
    with pytest.raises(ValueError, match=rf"forged\.npz: {field}: .*{message}"):
        load(path)


def test_what_would_be_refused_is_not_written(tmp_path):
    params = worlds.params()
    path = tmp_path / "region.npz"
    save(params, path)
    before = path.read_bytes()
    bad = replace(params, hyper=params.hyper._replace(noise=params.hyper.noise.at[1].set(jnp.nan)))
    with pytest.raises(ValueError, match=r"region\.npz: hyper\.noise: got nan, expected finite"):
        save(bad, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["region.npz"]


def _entry(path, name, content, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr(name, content)


def _npy(header, data=b""):
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def _pickled():
    buffer = io.BytesIO()
    np.save(buffer, np.array([_Trap()], object), allow_pickle=True)
    return buffer.getvalue()


class _Trap:
    """Unpickled, it would leave a file."""

    def __reduce__(self):
        return open, ("trap", "w")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_pickled(), r"widen: got the header .*\|O.*, expected one of numbers"),
        (b"", r"widen: got no array of NumPy"),
        (b"garbage" * 9, r"widen: got no array of NumPy"),
        (
            _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (), }\n"),
            r"widen: got 0 bytes, expected 8 ",
        ),
        (
            _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (999999999, 999999999), }\n"),
            r"widen: got 0 bytes, expected 7,999,999,984,000,000,008",
        ),
        (
            _npy("{'descr': '<f8', 'shape': __import__('os').getcwd()}\n"),
            r"widen: got the header",
        ),
        (
            _npy("{'descr': '<f9', 'fortran_order': False, 'shape': (), }\n", b"0" * 9),
            r"widen: got type <f9",
        ),
        (_npy("(" * 9000), r"widen: got the header"),
    ],
)
def test_an_array_is_its_header_and_its_bytes(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    _entry("a.npz", "widen.npy", content)
    with pytest.raises(ValueError, match=rf"a\.npz: {message}"):
        load("a.npz")
    assert not Path("trap").exists()


def test_bombs_are_refused_before_they_are_read(tmp_path, monkeypatch):
    def _read(*_):
        pytest.fail("read")

    path = tmp_path / "a.npz"
    # 200 MB of zeros in 200 kB
    _entry(path, "widen.npy", bytes(200_000_000), compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6
    monkeypatch.setattr(arrays, "_content", _read)
    with pytest.raises(ValueError, match=r"a\.npz: widen: got 200,000,000 bytes, expected at most"):
        load(path)
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        for k in range(40):
            archive.writestr(f"f{k}.npy", bytes(500_000))
    with pytest.raises(ValueError, match=r"a\.npz: f0: got 500,000 bytes, expected at most"):
        load(path)
    _entry(path, "widen.npy", b"0" * 99, compression=zipfile.ZIP_LZMA)
    with pytest.raises(ValueError, match=r"a\.npz: widen: got compression 14, expected none or"):
        load(path)
    with open(path, "ab") as large:
        large.truncate(17 * 2**20)
    with pytest.raises(ValueError, match=r"a\.npz: (got no archive|got 17,825,792 bytes, exp)"):
        load(path)


def test_a_size_that_lies_is_a_damaged_archive(tmp_path):
    # declares 130 bytes, unpacks to 9 MB
    path = tmp_path / "a.npz"
    _entry(path, "widen.npy", bytes(9_000_000), compression=zipfile.ZIP_DEFLATED)
    size = (9_000_000).to_bytes(4, "little")
    content = path.read_bytes()
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, (130).to_bytes(4, "little")))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a\.npz: (widen: )?got "):
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(
    kind=st.sampled_from(["cut", "flip", "garbage", "insert"]),
    at=st.floats(0.0, 1.0),
    data=st.binary(min_size=1, max_size=40),
)
def test_damaged_bytes_never_end_in_another_librarys_error(tmp_path, kind, at, data):
    good = tmp_path / "good.npz"
    if not good.exists():
        save(_params("all"), good)
    content = good.read_bytes()
    place = int(at * len(content))
    rest = content[place + len(data) :]
    damaged = {
        "cut": content[:place],
        "flip": content[:place] + data + rest,
        "garbage": data * 30,
        "insert": content[:place] + data + content[place:],
    }[kind]
    path = tmp_path / "damaged.npz"
    path.write_bytes(damaged)
    message = None
    try:
        params = load(path)
    except ValueError as error:
        message = str(error)
    else:
        # bytes that say nothing: dates, or what is not part of the archive
        for a, b in zip(*map(jax.tree.leaves, (params, load(good))), strict=True):
            np.testing.assert_array_equal(a, b)
    assert message is None or str(path) in message
