"""Keywords that do not exist are refused by a message that lists those that do."""

import functools
import inspect
from collections.abc import Callable


def listing(function: Callable) -> Callable:
    """`function`, whose TypeError for an unknown keyword lists the valid ones.

    For a class it is the constructor that lists them, and the class is returned itself.
    """
    if inspect.isclass(function):
        function.__init__ = _listing(function.__init__, function.__name__)
        return function
    return _listing(function, function.__name__)


def _listing(function: Callable, name: str) -> Callable:
    parameters = inspect.signature(function).parameters.values()
    valid = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    valid = [keyword for keyword in valid if keyword != "self"]

    @functools.wraps(function)
    def _call(*args, **kwargs):
        refuse(name, kwargs, valid)
        return function(*args, **kwargs)

    return _call


def refuse(name: str, given: dict, valid: list[str]) -> None:
    """Nothing, or a TypeError naming what of `given` is not among the `valid` keywords."""
    unknown = [keyword for keyword in given if keyword not in valid]
    if unknown:
        raise TypeError(
            f"{name}() got unknown keyword(s) {', '.join(unknown)}; valid are {', '.join(valid)}"
        )
