"""Gives a generated method the name, docstring and signature of what it stands for."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_SELF = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)


def dressed(method: F, source: Callable[..., Any], without: int = 0) -> F:
    """Dress `method`, whose first parameter is its owner, as `source`.

    Args:
        method: what is dressed.
        source: where name, docstring and parameters come from; its own owner is left out.
        without: how many further parameters the method fills in by itself.
    """
    functools.update_wrapper(method, source)
    vars(method).pop("__wrapped__")  # it would be shown with its first parameter cut off
    found = list(inspect.signature(source).parameters.values())
    owned = [parameter for parameter in found if parameter.name != "self"][without:]
    vars(method)["__signature__"] = inspect.Signature([_SELF, *owned])
    return method
