"""What a reader is told besides the file: how large a dataset may be, and where its targets are."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """The largest dataset that is read. All of it is checked before memory is asked for."""

    #: Rows of the dataset.
    max_rows: int = 10_000_000
    #: Numbers in one row: columns of a table, pixels times channels of an image.
    max_columns: int = 2**22
    #: Columns of a CSV or Parquet file.
    max_table_columns: int = 2**16
    #: Numbers in all input rows together.
    max_values: int = 2**28
    #: Bytes of everything unpacked.
    max_bytes: int = 2**31
    #: Classes of a classification.
    max_classes: int = 10_000
    #: Bytes of one line of a CSV file.
    max_line_bytes: int = 4 * 2**20
    #: Bytes of one word of a text.
    max_word_bytes: int = 1_000
    #: Files in an archive of images.
    max_members: int = 200_000
    #: Bytes of one unpacked image file.
    max_image_bytes: int = 32 * 2**20
    #: Unpacked over packed bytes of an archive member that unpacks to `ratio_floor_bytes`.
    max_ratio: int = 100
    #: Members below this size may be packed tighter: sorted targets are, a thousandfold.
    ratio_floor_bytes: int = 16 * 2**20


@dataclass(frozen=True)
class ReadOptions:
    """How to read one upload.

    Args:
        target: CSV and Parquet: the target's column.
        targets_path: IDX: the file of targets.
        test_path, test_targets_path: IDX: a test pair, which becomes the dataset's own test
            split. Both or neither.
        context: text: characters of a row.
    """

    target: str | None = None
    targets_path: Path | None = None
    test_path: Path | None = None
    test_targets_path: Path | None = None
    limits: Limits = field(default_factory=Limits)
    context: int = 3
