"""The plane through three networks, paths projected on it, and the loss over it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.measures.objective import Objective, norm_of

FLAT = 1e-9  # of the triangle's longer side: a smaller height is no plane
MARGIN = 0.15  # of the paths' extent, that is drawn on each side of them


@dataclass(frozen=True)
class Projected:
    """Points of a path as they are seen on a plane."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    #: Of each point's distance from the plane's origin, the share across the plane: 0 in the
    #: plane, 1 straight above the origin. The origin itself has 0.
    off: tuple[float, ...]


@dataclass(frozen=True)
class Plane:
    """An origin and two directions of length 1, at a right angle, in float64.

    Distances between points of the plane are those of their coordinates.
    """

    origin: Tensor  # (P,)
    first: Tensor  # (P,)
    second: Tensor  # (P,)

    def at(self, x: float, y: float) -> Tensor:
        """The parameters at a point of the plane, (P,)."""
        return self.origin + x * self.first + y * self.second

    def project(self, path: Sequence[Tensor]) -> Projected:
        """Where the points of a path, (P,) each, fall on the plane, and how far off they lie."""
        found = [self._projected(point) for point in path]
        x, y, off = zip(*found, strict=True) if found else ((), (), ())
        return Projected(x, y, off)

    def losses(self, at: Objective, x: Sequence[float], y: Sequence[float]) -> list[list[float]]:
        """Losses over the plane, [row of y][column of x]; NaN or infinite where they are.

        Args:
            at: with `statistics` recomputed at every point or held, which whoever draws must say.
        """
        like = at.here
        with at.kept():
            return [[at.value(self.at(a, b).to(like)) for a in x] for b in y]

    def _projected(self, point: Tensor) -> tuple[float, float, float]:
        apart = point.double() - self.origin
        x, y = float(torch.dot(apart, self.first)), float(torch.dot(apart, self.second))
        across, distance = norm_of(apart - x * self.first - y * self.second), norm_of(apart)
        return x, y, across / distance if distance else 0.0


def plane_through(a: Tensor, b: Tensor, c: Tensor) -> Plane:
    """The plane of three points, (P,) each: their mean is its origin, b - a its first direction.

    Raises:
        ValueError: the three lie on a line, or one of them is not finite.
    """
    a, b, c = (one.double() for one in (a, b, c))
    along, rest = b - a, c - a
    longest = max(norm_of(along), norm_of(rest))
    if norm_of(along) > FLAT * longest:
        first = along / norm_of(along)
        height = rest - torch.dot(rest, first) * first
        height = height - torch.dot(height, first) * first  # what the first rounding left
        if norm_of(height) > FLAT * longest:
            return Plane((a + b + c) / 3, first, height / norm_of(height))
    raise ValueError("three points on a line, or not finite, span no plane")


def window(
    paths: Sequence[Projected], count: int, margin: float = MARGIN
) -> tuple[list[float], list[float]]:
    """x and y of a grid that holds every point of the paths, with a margin on each side.

    Args:
        paths: at least two different points in all.
        count: of grid lines each way, at least 2.

    Raises:
        ValueError: all points are one.
    """
    spans = [_span([value for path in paths for value in values(path)]) for values in (_x, _y)]
    extent = max(high - low for low, high in spans)
    if not extent > 0:
        raise ValueError("paths of one point have no extent")
    x, y = (_lines(low - margin * extent, high + margin * extent, count) for low, high in spans)
    return x, y


def _x(path: Projected) -> tuple[float, ...]:
    return path.x


def _y(path: Projected) -> tuple[float, ...]:
    return path.y


def _span(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _lines(low: float, high: float, count: int) -> list[float]:
    return [low + (high - low) * index / (count - 1) for index in range(count)]
