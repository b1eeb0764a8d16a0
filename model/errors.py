"""What the mathematics refuses, as one tree.

ModelError                 reason, message, and every value the message used
+-- SpecRefused            a spec that cannot work; names the field
+-- DatasetInvalid         a file or array that is no dataset; names row, column or member
|   +-- DatasetTooLarge    more bytes, rows or values than the limit
+-- InputRefused           rows that a network cannot answer
+-- CheckpointRefused      a file that is no whole checkpoint
    +-- ChecksumMismatch   bytes differ from the recorded sha256
    +-- StatisticsMissing  a norm layer without its running statistics
    +-- StatisticsChanged  running statistics that are not those of their fingerprint
    +-- ShapeMismatch      tensors of another network
+-- DeviationZero          a batch deviation of exactly 0 with eps 0
+-- ExportRefused          a network that the asked form cannot hold, or answers otherwise in it
    +-- FoldRefused        batch norm in the layer before it would answer otherwise
"""

from typing import Any


class ModelError(Exception):
    """Base of everything the model room refuses.

    Args:
        message: a sentence for the user; never repeats the input itself.
        metadata: every value used in the message, JSON-ready.
    """

    reason = "MODEL_ERROR"

    def __init__(self, message: str, **metadata: Any) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata


class SpecRefused(ModelError):
    """A spec that is well-formed but cannot work.

    Args:
        path: the field at fault, dotted, as in the request body (`network.hidden.0`).
        message: why, with both sides and the numbers.
        reason: stable code of this refusal.
    """

    reason = "SPEC_REFUSED"

    def __init__(self, path: str, message: str, reason: str | None = None, **metadata: Any) -> None:
        super().__init__(message, **metadata)
        self.path = path
        if reason is not None:
            self.reason = reason


class DatasetInvalid(ModelError):
    """A file or array that cannot become a dataset."""

    reason = "DATASET_INVALID"


class DatasetTooLarge(DatasetInvalid):
    """A dataset that declares or unpacks to more than the limit."""

    reason = "DATASET_TOO_LARGE"


class InputRefused(ModelError):
    """Rows that the network cannot answer: wrong width, not finite, none at all."""

    reason = "INPUT_INVALID"


class CheckpointRefused(ModelError):
    """A file that is not a whole checkpoint of ours."""

    reason = "CHECKPOINT_INVALID"


class ChecksumMismatch(CheckpointRefused):
    """The bytes are not those that were recorded."""

    reason = "CHECKSUM_MISMATCH"


class StatisticsMissing(CheckpointRefused):
    """A norm layer whose running statistics are not in the file."""

    reason = "BN_STATS_MISSING"


class StatisticsChanged(CheckpointRefused):
    """The running statistics are not those that were fingerprinted."""

    reason = "BN_FINGERPRINT_MISMATCH"


class ShapeMismatch(CheckpointRefused):
    """Tensors whose names or shapes belong to another network."""

    reason = "SHAPE_MISMATCH"


class DeviationZero(ModelError):
    """A channel is constant over the batch, and eps is 0: the division has no answer."""

    reason = "BN_ZERO_DEVIATION"


class ExportRefused(ModelError):
    """A network that cannot be written in the asked form, or that would answer otherwise in it."""

    reason = "EXPORT_REFUSED"


class FoldRefused(ExportRefused):
    """Batch norm folded into the layer before it would answer otherwise; serve it unfolded."""

    reason = "FOLD_REFUSED"
