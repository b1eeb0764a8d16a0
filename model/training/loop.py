"""The training loop: a generator that trains and yields what happened.

It knows nothing of queues, files or records. Whoever drives it decides, between two
happenings, whether to go on, take a resume point or stop.
"""

import itertools
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from model.blocks import block_rows
from model.errors import DeviationZero
from model.memory import item_bytes
from model.networks.build import build
from model.networks.init import initialize
from model.plan import Checked
from model.training.arrays import Arrays, dtype_of
from model.training.evaluate import count_correct, evaluate
from model.training.guard import Guard
from model.training.happenings import Happening, Point, Snapshot, snapshot_of, with_measured
from model.training.losses import SUMS, loss_function
from model.training.observer import NEVER, Measured, Observer, Place
from model.training.optimizers import build_optimizer
from model.training.order import batches, order_of
from model.training.randomness import restore_torch, seed_torch, stream, torch_states
from model.training.resume import (
    Keep,
    Position,
    Tally,
    Tensors,
    add_prefix,
    flatten_optimizer,
    is_better,
    restore_optimizer,
    with_prefix,
)
from model.training.schedules import is_constant, learning_rate

CONTROL_STEPS = 64  # most steps between two control points: one device sync each
CONTROL_SECONDS = 0.1  # most seconds between two, when steps are slow
POINTS_PER_RUN = 1000  # training points that a run aims at
LEAST_POINT_STEPS = 10  # between two of them, so that a short run does not sync every step
MOST_POINT_STEPS = 500  # so that a long run soon shows its loss
MOST_POINTS = 20_000  # even so


@dataclass
class ResumePoint:
    """Everything that `Training.resume` needs: network tensors apart from the rest."""

    network: Tensors
    state: Tensors
    position: Position


class Training:
    """One run's training, from its first step or from a resume point.

    Args:
        checked: the spec with its plan and its lengths in steps.
        arrays: the rows, on `device`.
        device: where to train.
        observer: looks on, and changes no number of the run.

    Two trainings of one spec on one machine end with the same bits, also when one of
    them was stopped and resumed in between: on one thread count of one CPU.
    """

    def __init__(
        self,
        checked: Checked,
        arrays: Arrays,
        device: torch.device,
        observer: Observer | None = None,
    ) -> None:
        spec = checked.spec
        assert spec.loss is not None
        seed_torch(spec.seed, device)
        self.checked, self.spec, self.arrays, self.device = checked, spec, arrays, device
        self.network = _new_network(checked, device)
        self._guard = Guard(self.network)
        self._loss_kind = spec.loss.kind
        self.loss = loss_function(spec.loss.kind)
        self._is_sum = spec.loss.kind in SUMS
        self.optimizer = build_optimizer(spec.optimizer, self.network)
        self.order = order_of(spec, checked.batches.sizes, arrays.train)
        self._parameters = list(self.network.parameters())
        self._block_rows = block_rows(checked.plan, item_bytes(spec))
        self._autocast = (
            torch.autocast(device.type, torch.bfloat16)
            if spec.precision == "bfloat16"
            else nullcontext()
        )
        self._scheduled = not is_constant(spec.schedule)
        self.step = self.batch = self.forgotten = 0
        self.tally = Tally()
        self.good = Keep(0, self._tensors())
        self.best: Keep | None = None
        self._epoch_state = self.order.generator.get_state()
        self._pending: list[tuple[Tensor, Tensor, Tensor]] = []  # loss, logits, targets
        self._point_every = point_every(checked.steps)
        self._point_at, self._point_step = time.monotonic(), 0
        self._observer = observer
        self._observed_at = NEVER if observer is None else observer.due(0)
        self._measured: list[Measured] = []

    def run(self) -> Iterator[Happening]:
        """Train to the end of the budget; the last happening says how it ended."""
        self.network.train()
        self._point_at, self._point_step = time.monotonic(), self.step
        control, deadline = self.step + 1, math.inf  # the first step is reported at once
        while self.step < self.checked.steps:
            for x, y in self._rest_of_epoch():
                try:
                    if self.step == self._observed_at:
                        self._train_observed(x, y)
                    else:
                        self._train(x, y)
                except DeviationZero:
                    # Whether this or an earlier loss ended the run must not hang on when
                    # losses are looked at.
                    bad = self._count_pending() if self._pending else None
                    if bad is None:
                        raise
                    yield self._with_measured(self._diverged(bad.step, (bad,)))
                    return
                if self.step >= control or time.monotonic() >= deadline:
                    happening = self._control()
                    yield happening
                    if happening.ended:
                        return
                    control, deadline = self._next_control(), time.monotonic() + CONTROL_SECONDS

    def resume_point(self) -> ResumePoint:
        """A copy of everything; taken between two happenings."""
        self._turn_epoch()
        state = flatten_optimizer(self.optimizer)
        state |= add_prefix(torch_states(self.device), "generator.")
        state["generator.order"] = self._epoch_state.clone()
        state |= add_prefix(self.good.tensors, "good.")
        state |= add_prefix(self.best.tensors, "best.") if self.best else {}
        position = Position(
            self.step,
            self.batch,
            Tally(self.tally.loss, self.tally.rows, self.tally.correct),
            self.good.step,
            self.best.step if self.best else None,
            self.best.scores if self.best else {},
            self.forgotten,
            self.good.forgotten,
            self.best.forgotten if self.best else 0,
        )
        return ResumePoint(self._tensors(), state, position)

    def resume(self, point: ResumePoint) -> None:
        """Go back to a resume point; what follows has the same bits as without a stop."""
        at = point.position
        self.network.load_state_dict(point.network)
        self._guard.keep()
        restore_optimizer(self.optimizer, point.state)
        restore_torch(with_prefix(point.state, "generator."), self.device)
        self._epoch_state = point.state["generator.order"].clone()
        self.order.generator.set_state(self._epoch_state)
        self.step, self.batch, self.tally = at.step, at.batch, at.tally
        self.forgotten = at.forgotten
        self._observed_at = NEVER if self._observer is None else self._observer.due(at.step)
        good = with_prefix(point.state, "good.")
        self.good = Keep(at.good_step, good, forgotten=at.good_forgotten)
        if at.best_step is not None:
            best = with_prefix(point.state, "best.")
            self.best = Keep(at.best_step, best, at.best_scores, at.best_forgotten)

    def _rest_of_epoch(self) -> Iterator[tuple[Tensor, Tensor]]:
        self._turn_epoch()
        train, left = self.arrays.train, self.checked.steps - self.step
        rest = batches(train.inputs, train.targets, self.order.epoch(), self.batch)
        return itertools.islice(rest, left)

    def _turn_epoch(self) -> None:
        """After an epoch's last batch, stand before the first of the next."""
        if self.batch == len(self.order.sizes):
            self.batch, self._epoch_state = 0, self.order.generator.get_state()

    def _train(self, x: Tensor, y: Tensor) -> None:
        if self._scheduled:
            rate = self._rate(self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
        for parameter in self._parameters:
            parameter.grad = None
        with self._autocast:
            logits = self.network(x)
            loss = self.loss(logits, y)
        loss.backward()
        self.optimizer.step()
        self._pending.append((loss.detach(), logits.detach(), y))
        self.step += 1
        self._guard.check(self.step)
        self.batch += 1

    def _train_observed(self, x: Tensor, y: Tensor) -> None:
        assert self._observer is not None
        self._measured += self._observer.before(self._place(x, y))
        self._train(x, y)
        self._measured += self._observer.after(self._place(x, y))
        self._observed_at = self._observer.due(self.step)

    def _place(self, x: Tensor, y: Tensor) -> Place:
        rate = self._rate(min(self.step, self.checked.steps - 1))
        return Place(self.network, self.step, x, y, rate)

    def _rate(self, step: int) -> float:
        return learning_rate(self.spec.schedule, self.spec.optimizer.lr, step, self.checked.steps)

    def _next_control(self) -> int:
        every = [self._point_every, self.checked.evaluate_every]
        if self.checked.checkpoint_every is not None:
            every.append(self.checked.checkpoint_every)
        nearest = min(self.step + n - self.step % n for n in every)
        return min(nearest, self.step + CONTROL_STEPS, self.checked.steps)

    def _control(self) -> Happening:
        restored = self._guard.restored()
        self.forgotten += sum(self._updates_at(one.step) for one in restored)
        happening = self._with_measured(self._happened())
        return replace(happening, restored=restored) if restored else happening

    def _with_measured(self, happening: Happening) -> Happening:
        found, self._measured = self._measured, []
        return with_measured(happening, found) if found else happening

    def _happened(self) -> Happening:
        bad = self._count_pending()
        if bad is not None:
            return self._diverged(bad.step, (bad,))
        step, is_end = self.step, self.step == self.checked.steps
        points = self._train_points() if is_end or step % self._point_every == 0 else ()
        evaluated = is_end or step % self.checked.evaluate_every == 0
        if evaluated:
            points += self._evaluate()
        every = self.checked.checkpoint_every
        is_due = every is not None and step % every == 0
        if (evaluated or is_due) and not self._is_finite():
            return self._diverged(step, points, evaluated)
        snapshot = self._snapshot(self.good) if is_due else None
        if is_end:
            return Happening(step, points, True, snapshot, "completed", self._kept())
        return Happening(step, points, evaluated, snapshot)

    def _diverged(self, step: int, points: tuple[Point, ...], evaluated: bool = False) -> Happening:
        return Happening(step, points, evaluated, None, "diverged", self._kept())

    def _is_finite(self) -> bool:
        """Whether the network is finite here; if so it is kept as the last that was."""
        if self.good.step != self.step:
            tensors = self._tensors()
            if all_finite(tensors):
                self.good = Keep(self.step, tensors, forgotten=self.forgotten)
        return self.good.step == self.step

    def _kept(self) -> Snapshot:
        """The validation rows' choice, or the last finite network."""
        return self._snapshot(self.best or self.good)

    def _snapshot(self, keep: Keep) -> Snapshot:
        return snapshot_of(keep, self.checked.updates(keep.step))

    def _updates_at(self, step: int) -> int:
        """Times that one step moved each running statistic."""
        return self.checked.updates(step) - self.checked.updates(step - 1)

    def _count_pending(self) -> Point | None:
        """Add the pending batches to the tally; the first loss that was not finite."""
        losses = torch.stack([loss for loss, _, _ in self._pending]).tolist()
        first = self.step - len(losses) + 1
        for index, (value, (_, _, y)) in enumerate(zip(losses, self._pending, strict=True)):
            if not math.isfinite(value):
                return Point("train_loss", first + index, value)
            self.tally.add(value if self._is_sum else value * len(y), len(y))
        if self.arrays.train.classes is not None:
            logits = torch.cat([logits for _, logits, _ in self._pending])
            targets = torch.cat([targets for _, _, targets in self._pending])
            self.tally.correct += count_correct(logits, _classes(targets))
        self._pending.clear()
        return None

    def _train_points(self) -> tuple[Point, ...]:
        tally, self.tally = self.tally, Tally()
        now, elapsed = time.monotonic(), time.monotonic() - self._point_at
        rate = (self.step - self._point_step) / max(elapsed, 1e-9)
        self._point_at, self._point_step = now, self.step
        values = {
            "train_loss": tally.loss / tally.rows,
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
            "steps_per_second": rate,
        }
        if self.arrays.train.classes is not None:
            values["train_accuracy"] = tally.correct / tally.rows
        return tuple(Point(name, self.step, value) for name, value in values.items())

    def _evaluate(self) -> tuple[Point, ...]:
        points: list[Point] = []
        for name, part in (("validation", self.arrays.validation), ("test", self.arrays.test)):
            if not len(part):
                continue
            scores = evaluate(self.network, self._loss_kind, part, self._block_rows)
            points += [Point(f"{name}_{key}", self.step, value) for key, value in scores.items()]
            if name == "validation" and self.spec.select == "best":
                self._keep_best(scores)
        return tuple(points)

    def _keep_best(self, scores: dict[str, float]) -> None:
        tensors = self._tensors()
        if all_finite(tensors) and (self.best is None or is_better(scores, self.best.scores)):
            self.best = Keep(self.step, tensors, scores, self.forgotten)

    def _tensors(self) -> Tensors:
        return {
            name: tensor.detach().clone().cpu()
            for name, tensor in self.network.state_dict().items()
        }


def point_every(steps: int) -> int:
    """Optimizer steps between two training points of a run of so many steps."""
    aimed = min(steps // POINTS_PER_RUN, MOST_POINT_STEPS)
    return max(LEAST_POINT_STEPS, aimed, steps // MOST_POINTS)


def all_finite(tensors: Tensors) -> bool:
    """Whether no tensor holds an infinity or NaN."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


def _new_network(checked: Checked, device: torch.device) -> nn.Module:
    network = build(checked.plan, dtype=dtype_of(checked.spec))
    initialize(network, checked.plan, checked.spec.init, stream(checked.spec.seed, "init"))
    return network.to(device)


def _classes(targets: Tensor) -> Tensor:
    return targets.argmax(1) if targets.is_floating_point() else targets
