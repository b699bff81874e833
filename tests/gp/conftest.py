"""The oracle of tinygp's quasiseparable solver beside the solvers of the package."""

import pytest

from s1jax import gp
from tests.worlds import quasisep


@pytest.fixture(scope="module")
def quasisep_too():
    """`gp.SOLVERS` with "quasisep" added for the tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(gp.SOLVERS, "quasisep", quasisep)
        yield
