"""A fault and its sound twin: what each answers by batch statistics and in eval mode."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

from torch import Tensor, nn

from model.checkpoint import Loaded
from model.lab.results import Results, RunResult, Start
from model.statistics.diagnose import diagnose
from model.statistics.evidence import Evidence
from model.statistics.gap import train_eval_gap
from model.statistics.modes import batch_norms
from model.statistics.population import precise
from model.training.arrays import Part
from model.training.randomness import stream

CHUNK = 1_000  # rows that pass at once
LEAST_ROWS = 2  # of which a variance can be taken

RECALIBRATE = "recalibrate on the training rows"
IN_EVAL = "answer in eval mode"
NONE = "none"  # of a sound twin


@dataclass(frozen=True)
class Twin:
    """A run as it was saved, with the rows that it trained on."""

    run: RunResult
    start: Start
    loaded: Loaded

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.run.seed

    @property
    def held_out(self) -> Part:
        """The test rows; the training rows where they are too few for statistics of their own."""
        arrays = self.start.arrays
        return arrays.test if len(arrays.test) >= LEAST_ROWS else arrays.train

    @property
    def rows(self) -> tuple[Tensor, ...]:
        """All training rows, some at a time."""
        rows: tuple[Tensor, ...] = self.start.arrays.train.inputs.split(CHUNK)
        return rows


@dataclass(frozen=True)
class Planted:
    """A network with one fault."""

    name: str
    network: nn.Module
    known: Evidence  # what is known of it beside its tensors
    remedy: str = RECALIBRATE
    remedied: nn.Module | None = None  # by another remedy than a recalibration


@dataclass(frozen=True)
class Specimen:
    """What became of one fault in one seed. Accuracies are shares of held-out rows."""

    name: str
    seed: int
    by_batch: float | None  # normalized by the statistics of the rows at hand
    in_eval: float | None  # by the running statistics; None where training does not get so far
    found: tuple[str, ...]  # reasons of the diagnosis, or of the refusal
    remedy: str
    after: float | None  # in eval mode, after the remedy
    note: str = ""


def twin(results: Results, run: RunResult) -> Twin | None:
    """A run with what it left; None where it left no checkpoint."""
    loaded = results.trained(run)
    return None if loaded is None else Twin(run, results.start(run), loaded)


def examined(twin: Twin, planted: Planted) -> Specimen:
    """Score a fault, diagnose it, and score it again after its remedy."""
    by_batch, in_eval = accuracies(planted.network, twin)
    remedied = planted.remedied or recalibrated(planted.network, twin.rows)
    return Specimen(
        planted.name,
        twin.seed,
        by_batch,
        in_eval,
        reasons(planted.network, planted.known),
        planted.remedy,
        accuracies(remedied, twin)[1],
    )


def accuracies(network: nn.Module, twin: Twin) -> tuple[float, float]:
    """Shares of the held-out rows that are right, by batch and by running statistics."""
    loss = twin.start.checked.spec.loss
    assert loss is not None
    found = train_eval_gap(
        network,
        loss.kind,
        twin.held_out,
        stream(twin.seed, "gap"),
        chunk_rows=CHUNK,
        attribute=False,
    )
    assert found is not None
    assert found.batch.correct is not None
    assert found.running.correct is not None
    return found.batch.correct / found.rows, found.running.correct / found.rows


def recalibrated(network: nn.Module, rows: Sequence[Tensor]) -> nn.Module:
    """A copy whose running statistics are those of the rows, layer by layer."""
    copied = deepcopy(network).eval()
    norms = batch_norms(copied)
    for name, statistics in precise(copied, tuple(rows)).items():
        statistics.put_into(norms[name])
    return copied


def reasons(network: nn.Module, known: Evidence) -> tuple[str, ...]:
    """Reasons that the diagnosis gives, each once, errors first."""
    return tuple(dict.fromkeys(one.reason for one in diagnose(network, known)))
