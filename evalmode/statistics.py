"""What the service tells of running statistics, as typed values.

None stands for a number that is not finite or that nobody knows. A layer is named by its
state-dict prefix, such as `1`.
"""

from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field

from evalmode.resources import Finding, Resource


class OfLayer(Resource):
    """Something that is told of one norm layer."""

    layer: str


L = TypeVar("L", bound=OfLayer)


class ByLayer(Resource, Generic[L]):
    """Something that is told layer by layer, in network order."""

    layers: list[L]

    def __getitem__(self, layer: str) -> L:
        for found in self.layers:
            if found.layer == layer:
                return found
        raise KeyError(layer)


class Summary(Resource):
    """One vector of a layer in a few numbers, over its finite values."""

    finite: int  # how many there are
    not_finite: Mapping[str, int] | None = None  # how many are nan, inf or -inf
    min: float | None = None
    mean: float | None = None
    max: float | None = None
    p05: float | None = None
    p25: float | None = None
    median: float | None = None
    p75: float | None = None
    p95: float | None = None


class LayerStatistics(OfLayer):
    """What one norm layer knows of its channels."""

    kind: str
    channels: int
    momentum: float | None = None  # share of the newest batch; None is the cumulative average
    eps: float
    affine: bool
    running: Literal["variance", "deviation", "scale"]  # what the running spread holds
    normalize: Literal["biased", "unbiased"] | None = None  # divisor in training mode
    batches_tracked: int | None = None
    share_of_initial: float | None = None  # (1 - momentum)^batches, 0 to 1
    window_batches: float | None = None  # batches that it effectively averages over
    trustworthy_step: int | None = None  # first step with a share of at most 5 %
    is_initial: bool  # whether mean and spread are exactly 0 and 1
    fits_float16: bool
    dead_channels: list[int]
    gain_near_zero: list[int]
    fingerprint: str
    mean: Summary
    variance: Summary  # a running deviation or scale is squared
    gain: Summary | None = None  # None without affine
    bias: Summary | None = None
    values: Mapping[str, Any] | None = None  # the vectors by name, where they were asked for


class LayerGap(OfLayer):
    """One layer's part of the train/eval gap; the parts sum to it."""

    points: float | None = None
    loss: float | None = None


class TrainEvalGap(ByLayer[LayerGap]):
    """What running statistics cost against batch statistics on the same rows."""

    rows: int
    points: float | None = None  # of accuracy; positive where eval mode is worse
    loss: float | None = None  # running minus batch
    p_value: float | None = None  # McNemar's exact test on the rows that the modes tell apart


class Statistics(ByLayer[LayerStatistics]):
    """The running statistics of a checkpoint; empty for a network without batch norm."""

    checkpoint: str
    fingerprint: str
    train_eval_gap: TrainEvalGap | None = None


class Diagnosis(Resource):
    """What is wrong with the running statistics of a checkpoint."""

    checkpoint: str
    findings: list[Finding]

    @property
    def errors(self) -> list[Finding]:
        """Findings that keep the checkpoint from being served under a model's name."""
        return [finding for finding in self.findings if finding.severity == "error"]


class LayerDiff(OfLayer):
    """How far one layer's running statistics are apart in two checkpoints."""

    channels: int
    kl_mean: float | None = None  # symmetric Kullback-Leibler divergence, over channels
    kl_max: float | None = None
    mean_cosine: float | None = None
    variance_cosine: float | None = None
    largest_z: float | None = None  # greatest distance of two means, in deviations
    z_channel: int  # where it is
    not_finite: Mapping[str, str] | None = None  # nan, inf or -inf by field


class Diff(ByLayer[LayerDiff]):
    """How far the running statistics of two checkpoints are apart."""

    checkpoint: str
    other: str = Field(alias="with")
    only_first: list[str]  # layers that `checkpoint` alone has
    only_second: list[str]


class Quartiles(Resource):
    """Of the channels of a layer."""

    p25: float | None = None
    median: float | None = None
    p75: float | None = None


class Level(Resource):
    """One number for a layer: by its running, its batch and its population statistics."""

    running: float | None = None
    batch: float | None = None
    population: float | None = None


class Distance(Resource):
    """How far statistics are from those of the population, channel by channel."""

    mean_sd: Quartiles | None = None  # |mean - population mean|, in deviations of the population
    log_variance: Quartiles | None = None  # ln(variance / population variance), signed


class LayerMoment(OfLayer):
    """One layer at one checkpoint of a history."""

    channels: int
    share_of_initial: float | None = None
    mean: Level  # root mean square over channels
    variance: Level  # geometric mean over the channels that vary
    running_distance: Distance | None = None
    batch_distance: Distance | None = None


class Moment(ByLayer[LayerMoment]):
    """The running statistics of one checkpoint beside those of batches and of all rows."""

    checkpoint: str
    step: int
    rows: int
    train_eval_gap: float | None = None  # points


class History(Resource):
    """Running statistics over the checkpoints of a run, oldest first."""

    run: str | None = None
    points: list[Moment]

    def __getitem__(self, layer: str) -> list[LayerMoment]:
        return [point[layer] for point in self.points]


class ChannelDrift(Resource):
    """How far one channel of a layer's input is from the training's."""

    channel: int
    score: float | None = None  # symmetric Kullback-Leibler divergence
    z: float | None = None
    offset: float | None = None
    variance_ratio: float | None = None


class LayerDrift(OfLayer):
    """How far what enters one layer is from the training's."""

    score: float | None = None  # mean over channels
    threshold: float | None = None  # drift above it; None where nothing is calibrated
    largest_channel: ChannelDrift | None = None
    top_channels: list[ChannelDrift]  # the highest first


class ClassRows(Resource):
    """How many rows were answered with one class."""

    label: str
    rows: int


class Drift(ByLayer[LayerDrift]):
    """Whether the rows that a model is asked for differ from those it was trained on.

    An alarm says that inputs differ, not that answers are worse: another mixture of classes
    fires it, too.
    """

    model: str
    version: int
    checkpoint: str
    state: Literal["uncalibrated", "filling", "quiet", "alarm"]
    window_rows: int  # rows that were judged; 0 while the window fills
    rows: int  # rows that the window holds
    sizes: list[int]  # calibrated window sizes, in rows
    largest_window: int | None = None  # the largest of them
    alarm: float | None = None  # largest score / threshold; drift above 1
    predicted_classes: list[ClassRows] | None = None  # of the window; None for regression
    message: str = ""
