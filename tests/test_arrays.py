"""Arrays of a .npz file from elsewhere: read whole, or refused in bounded memory and time."""

import io
import os
import time
import tracemalloc
import zipfile

import hypothesis.extra.numpy as arrays_of
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s1jax import arrays, mogpr
from s1jax.commands import doctor

KINDS = st.one_of(
    arrays_of.floating_dtypes(sizes=(16, 32, 64)), arrays_of.integer_dtypes(),
    arrays_of.boolean_dtypes(), arrays_of.unicode_string_dtypes(min_len=1, max_len=9),
)  # fmt: skip
SHAPES = arrays_of.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5)


def _npy(header, content=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def _says(shape, kind="<f8"):
    return _npy(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}", bytes(8))


def _file(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), fortran=st.booleans(), packed=st.booleans())
def test_what_numpy_writes_comes_back(tmp_path, data, fortran, packed):
    array = data.draw(arrays_of.arrays(data.draw(KINDS), data.draw(SHAPES)))
    array = np.asarray(array, order="F" if fortran else "C")
    (np.savez_compressed if packed else np.savez)(tmp_path / "a.npz", x=array, other=np.ones(3))
    got = arrays.read(tmp_path / "a.npz")
    assert (got["x"].dtype, got["x"].shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(got["x"], array)
    assert got["x"].flags.writeable
    assert list(arrays.read(tmp_path / "a.npz", ["other"])) == ["other"]


FORGED = {
    "digits without end": (_says("1" * 60 + "x"), "got the header"),
    "lengths without end": (_says("1, " * 900), "got the shape .*, expected whole numbers, at"),
    "a length of digits": (_says("1" * 900), "got the shape"),
    "no length between": (_says("1,, 2"), "got the shape"),
    "100 dimensions": (_says("1, " * 100), r"got the shape \(1, 1, .*at most 8"),
    "terabytes": (_says("999999999999,"), "got 8 bytes, expected 7,999,999,999,992"),
    "texts of no letters": (_says("3,", "<U0"), "got type <U0, expected numbers of 1 to 8"),
    "long doubles": (_says("", "<f16"), "got type <f16, expected numbers of 1 to 8"),
    "no such type": (_says("", "<f3"), "got type <f3"),
    "objects": (_says("", "|O8"), "got the header"),
    "nothing": (b"", "got no array of NumPy"),
    "a header of gigabytes": (
        b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little") + b" " * 9000, "got the header"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_forged_arrays_are_named_at_once(name, tmp_path):
    content, message = FORGED[name]
    path = _file(tmp_path / "a.npz", training=content, test=content)
    started = time.perf_counter()
    tracemalloc.start()
    for reader in (arrays.read, mogpr.load, doctor.read_split):
        with pytest.raises(ValueError, match=rf"a\.npz: training: {message}"):
            reader(path)
    with pytest.raises(ValueError, match=rf"a\.npz: training: {message}|got shape"):
        arrays.of_shapes(path, {"training": (1,), "test": (1,)})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6
    assert time.perf_counter() - started < 2


def test_archives_that_are_none(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04garbage")
    os.mkfifo(tmp_path / "pipe.npz")
    cases = {
        tmp_path / "a.npz": "got no archive, expected a .npz file",
        tmp_path / "pipe.npz": "got a device or pipe, expected a file",
        tmp_path / "none.npz": "got no such file",
        tmp_path: "got a folder, expected a file",
        "http://127.0.0.1/a.npz": "got no such file, expected a file of this machine",
    }
    for path, message in cases.items():
        for reader in (arrays.read, mogpr.load):
            with pytest.raises(ValueError, match=message) as caught:
                reader(path)
            assert str(path) in str(caught.value)
    for name in ("a", "pipe", "none"):
        with pytest.raises(ValueError, match=rf"{name}\.npz"):
            doctor.read_split(tmp_path / f"{name}.npz")


def test_a_bit_that_changed_is_seen(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(100.0))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(np.float64(50).tobytes())] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: x: got a damaged archive \(Bad CRC"):
        arrays.read(tmp_path / "a.npz")


def test_many_fields_and_twins_are_refused(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.ones(2))
    _file(tmp_path / "a.npz", **{f"f{k}": buffer.getvalue() for k in range(1001)})
    with pytest.raises(ValueError, match=r"a\.npz: got 1,001 fields, expected at most 1,000"):
        arrays.read(tmp_path / "a.npz")
    _file(tmp_path / "b.npz", x=buffer.getvalue(), y=buffer.getvalue())
    content = (tmp_path / "b.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(content.replace(b"y.npy", b"x.npy"))
    with pytest.raises(ValueError, match=r"b\.npz: x: got it more than once"):
        arrays.read(tmp_path / "b.npz")


def test_the_limit_is_that_of_what_is_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", large=np.zeros(10**6), small=np.ones(3))
    with pytest.raises(ValueError, match=r"a\.npz: large: got 8,000,128 bytes, expected at most"):
        arrays.read(tmp_path / "a.npz", limit=10**5)
    np.testing.assert_array_equal(
        arrays.read(tmp_path / "a.npz", ["small"], limit=10**5)["small"], np.ones(3)
    )
