"""Keywords that do not exist are refused by a message that lists those that do."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any


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


def options_of(estimator: Any) -> dict[str, Any]:
    """What a dataclass was constructed with, by name, as scikit-learn's `get_params` has it."""
    return {f.name: getattr(estimator, f.name) for f in fields(estimator) if f.init}


def with_options(estimator: Any, given: dict[str, Any]) -> Any:
    """The dataclass itself with new options, as scikit-learn's `set_params` has it.

    Raises:
      ValueError: no such option (none holds another estimator, so a__b is none); nothing is set.
    """
    valid = list(options_of(estimator))
    unknown = [keyword for keyword in given if keyword not in valid]
    if unknown:
        name = type(estimator).__name__
        raise ValueError(f"{name}: got {', '.join(unknown)}, expected some of {', '.join(valid)}")
    for keyword, value in given.items():
        setattr(estimator, keyword, value)
    return estimator
