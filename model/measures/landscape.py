"""Loss and gradient along the gradient: what a step of another length would have met.

On the batch of the step to come, in training mode, with g the gradient at theta and
theta_a = theta - alpha * g for every alpha of a grid:

    loss variation           [min, max] over alpha of L(theta_a)
    gradient predictiveness  [min, max] over alpha of |g - g(theta_a)|
    effective beta           max over alpha of |g - g(theta_a)| / (alpha * |g|)

beta cannot fall below about 1 / (shortest alpha) once so short a step meets a gradient near 0:
compare arms with equal grids alone. So beta at alpha = lr is told as well.

Santurkar et al. 2018, figure 4: https://arxiv.org/abs/1805.11604
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, isnan, nan
from typing import Any

from model import spec
from model.measures.crossing import spread
from model.measures.numbers import number
from model.measures.objective import moved, norm_of, objective
from model.measures.probe import Moment, Reading, Setting
from model.plan import Checked
from model.training.losses import LossFunction


def passes(asked: spec.Landscape, checked: Checked) -> int:
    """Row-passes of one probe: a gradient here, at lr, and at every step length."""
    lengths = {1.0, *_lengths(asked)}
    return checked.spec.batch_size * 3 * (1 + len(lengths))


def probe(asked: spec.Landscape, setting: Setting) -> "LandscapeProbe":
    """What is asked at every probed step."""
    return LandscapeProbe(tuple(_lengths(asked)), setting.loss)


@dataclass(frozen=True)
class LandscapeProbe:
    """Variation, predictiveness and effective beta, all parameters in theta.

    A loss or a gradient that is not a number counts as infinitely far; where the loss or the
    gradient before the step is not or lr is 0, nothing can be said: NaN.
    """

    lengths: tuple[float, ...]  # in learning rates, ascending
    loss: LossFunction

    def look(self, at: Moment) -> Reading:
        """The curves over all step lengths and what they span."""
        lengths = sorted({1.0, *self.lengths})
        walked = _walk(at, self.loss, lengths)
        asked = [walked.steps[lengths.index(one)] for one in self.lengths]
        at_lr = walked.steps[lengths.index(1.0)]
        values = walked.spans(asked) | {"landscape.beta_at_lr": walked.beta(at_lr)}
        return Reading(values, walked.to_json(asked) | {"at_lr": walked.step_json(at_lr)})


@dataclass(frozen=True)
class _Step:
    """What was found after one step."""

    alpha: float
    loss: float
    distance: float  # |g - g(theta_a)|


@dataclass(frozen=True)
class _Walked:
    """One gradient and all steps along it."""

    lr: float
    loss: float
    gradient_norm: float
    steps: tuple[_Step, ...]

    @property
    def is_known(self) -> bool:
        """Whether there is something to compare with."""
        return isfinite(self.loss) and isfinite(self.gradient_norm) and self.lr > 0

    def beta(self, step: _Step) -> float:
        length = step.alpha * self.gradient_norm
        return step.distance / length if self.is_known and length > 0 else nan

    def spans(self, steps: Sequence[_Step]) -> dict[str, float]:
        losses, distances = [one.loss for one in steps], [one.distance for one in steps]
        found = {
            "landscape.loss_min": min(losses),
            "landscape.loss_max": max(losses),
            "landscape.predictiveness_min": min(distances),
            "landscape.predictiveness_max": max(distances),
            "landscape.beta": max(self.beta(one) for one in steps),
        }
        return found if self.is_known else dict.fromkeys(found, nan)

    def step_json(self, step: _Step) -> dict[str, Any]:
        return {
            "alpha": step.alpha,
            "loss": number(step.loss),
            "distance": number(step.distance),
            "beta": number(self.beta(step)),
        }

    def to_json(self, steps: Sequence[_Step]) -> dict[str, Any]:
        return {
            "lr": self.lr,
            "loss": number(self.loss),
            "gradient_norm": number(self.gradient_norm),
            "alphas": [one.alpha for one in steps],
            "losses": [number(one.loss) for one in steps],
            "distances": [number(one.distance) for one in steps],
            "betas": [number(self.beta(one)) for one in steps],
        }


def _walk(at: Moment, loss_function: LossFunction, lengths: Sequence[float]) -> _Walked:
    here = objective(at, loss_function)
    theta = here.here
    loss, gradient = here.gradient(theta)
    steps = []
    for length in lengths:
        alpha = length * at.lr
        after, turned = here.gradient(moved(theta, gradient, -alpha))
        steps.append(_Step(alpha, _or_infinite(after), _or_infinite(norm_of(gradient - turned))))
    return _Walked(at.lr, loss, norm_of(gradient), tuple(steps))


def _or_infinite(value: float) -> float:
    return inf if isnan(value) else value


def _lengths(asked: spec.Landscape) -> list[float]:
    return spread(asked.low, asked.high, asked.steps, asked.spacing)
