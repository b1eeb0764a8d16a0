"""The loss after steps of many lengths along the gradient, as a share of the loss before.

    r(alpha) = L(theta - alpha * g) / L(theta),  g the gradient of L at theta

all on one mini-batch, in training mode.

Bjorck et al. 2018, figure 3: https://arxiv.org/abs/1806.02375
"""

from dataclasses import dataclass
from math import nan

from model import spec
from model.measures.crossing import Crossing, first_above, log_steps
from model.measures.numbers import number
from model.measures.objective import Objective, norm_of, objective
from model.measures.probe import Moment, Reading, Setting
from model.plan import Checked
from model.training.losses import LossFunction

DIVERGED = 1e3  # times the loss before


def passes(asked: spec.RelativeLoss, checked: Checked) -> int:
    """Row-passes of one probe: a gradient and a loss for every step length."""
    return checked.spec.batch_size * (3 + len(_alphas(asked)))


def probe(asked: spec.RelativeLoss, setting: Setting) -> "RelativeLossProbe":
    """What is asked at each of the mini-batches in question."""
    return RelativeLossProbe(tuple(_alphas(asked)), setting.loss)


@dataclass(frozen=True)
class RelativeLossProbe:
    """Where a step along the gradient first raises the loss, and where it blows it up.

    Computed in float64, for the shortest steps change a loss by less than float32 holds. A
    loss that is not a number counts as raised; where the loss before is not finite, every step
    does. A crossing below or above all steps is said as a bound and has no metric point.
    """

    alphas: tuple[float, ...]
    loss: LossFunction

    def look(self, at: Moment) -> Reading:
        """r at every step length, on the mini-batch of the step to come."""
        return self.read(objective(at, self.loss), at.lr)

    def read(self, at: Objective, lr: float) -> Reading:
        """The same of any objective, at its network's own parameters."""
        wide = at.wide()
        loss, gradient = wide.gradient(wide.here)
        losses = wide.along(wide.here, -gradient, self.alphas)
        raised = first_above(self.alphas, losses, loss)
        diverged = first_above(self.alphas, losses, DIVERGED * loss)
        named = {"raised": raised, "diverged": diverged}
        data = {
            "lr": lr,
            "loss": number(loss),
            "gradient_norm": number(norm_of(gradient)),
            "alphas": list(self.alphas),
            "ratios": [number(_ratio(one, loss)) for one in losses],
            **{name: crossing.to_json() for name, crossing in named.items()},
        }
        return Reading(_points(named), data)


def _alphas(asked: spec.RelativeLoss) -> list[float]:
    return log_steps(asked.low, asked.high, asked.per_decade)


def _ratio(after: float, before: float) -> float:
    return after / before if before else nan


def _points(named: dict[str, Crossing]) -> dict[str, float]:
    return {
        f"relative_loss.{name}": one.alpha for name, one in named.items() if one.alpha is not None
    }
