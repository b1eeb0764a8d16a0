"""Params that are lists: how long one may be, and what its values must be to each other."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from pydantic import AfterValidator, Strict

from model.spec.parts import at_most

Values = tuple[Any, ...]


def several(most: int, check: Callable[[Values], Values]) -> tuple[Any, ...]:
    """What makes a field of JSON a tuple of at most so many values, which are checked together."""
    return Strict(False), at_most(most), AfterValidator(check)


def each_once(values: Values) -> Values:
    """Refuse a value that is there twice: it would make two arms of one name.

    Raises:
        ValueError: two values are equal, or two numbers are in their first six digits.
    """
    told_apart = {f"{one:g}" if isinstance(one, float) else one for one in values}
    if len(told_apart) < len(values):
        raise ValueError("every value may be there once; numbers are told apart by six digits")
    return values


def ascending(values: Values) -> Values:
    """Refuse numbers of which one is not larger than the one before it.

    Raises:
        ValueError: then, or two of them are equal in their first six digits.
    """
    if any(one >= two for one, two in pairwise(values)):
        raise ValueError("each value must be larger than the one before it")
    return each_once(values)


def descending(values: Values) -> Values:
    """Refuse numbers of which one is not smaller than the one before it.

    Raises:
        ValueError: then, or two of them are equal in their first six digits.
    """
    if any(one <= two for one, two in pairwise(values)):
        raise ValueError("each value must be smaller than the one before it")
    return each_once(values)
