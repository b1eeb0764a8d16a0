"""The learning rate as a pure function of the step: nothing to save, nothing to resume."""

from math import cos, pi

from model.spec import Constant, Cosine, Schedule, StepDecay


def learning_rate(schedule: Schedule, base_lr: float, step: int, steps: int) -> float:
    """The rate of one optimizer step.

    While warming up, base_lr * (step + 1) / warmup_steps: the line that leaves 0 before the
    first step and reaches base_lr at the last warm-up step. Then, with k steps since the
    warm-up and K = steps - warmup_steps:

        constant: base_lr
        step:     base_lr * gamma^floor(k / every_steps)
        cosine:   base_lr * (f + (1 - f) * (1 + cos(pi * k / K)) / 2),  f = final_fraction

    Args:
        base_lr: the optimizer's lr.
        step: index of the step, from 0.
        steps: length of the budget.
    """
    warmup = schedule.warmup_steps
    if step < warmup:
        return base_lr * (step + 1) / warmup
    since = step - warmup
    match schedule:
        case Constant():
            return base_lr
        case StepDecay(every_steps=every, gamma=gamma):
            return float(base_lr * gamma ** (since // every))
        case Cosine(final_fraction=final):
            wave = (1 + cos(pi * since / (steps - warmup))) / 2
            return base_lr * (final + (1 - final) * wave)


def is_constant(schedule: Schedule) -> bool:
    """Whether the rate is base_lr at every step, so that nobody has to set it."""
    return isinstance(schedule, Constant) and schedule.warmup_steps == 0
