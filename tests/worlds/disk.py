"""A disk that is full."""

import resource
from contextlib import contextmanager


@contextmanager
def files_up_to(size):
    """As on a full disk: the kernel refuses to make a file longer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
