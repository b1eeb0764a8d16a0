"""A checkpoint in another form, verified on rows of its own dataset before it is sent."""

import asyncio
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from api.calibration_rows import MOST_ROWS, rows_if_there
from api.stored import load
from core.checkpoints import Checkpoint
from core.database import Database
from core.files import FileStore
from model.checkpoint import Loaded
from model.errors import ExportRefused, InputRefused
from model.export.exported import Exported
from model.export.onnx_file import onnx
from model.export.safetensors_file import safetensors_folded

Format = Literal["onnx", "safetensors_folded"]

_WRITERS: dict[Format, Callable[[Loaded, npt.NDArray[np.generic]], Exported]] = {
    "onnx": onnx,
    "safetensors_folded": safetensors_folded,
}


class Exports:
    """Makes exports one at a time, each from a copy of the network that nobody predicts with."""

    def __init__(self, database: Database, files: FileStore) -> None:
        self._database = database
        self._files = files
        self._turn = asyncio.Semaphore(1)

    async def make(self, record: Checkpoint, format: Format) -> Exported:
        """Export a checkpoint.

        Raises:
            ExportRefused: the form cannot hold the network, or answers too far from it, or there
                are no rows to compare them on.
            CheckpointRefused, FileMissing, StoreUnavailable: the file cannot be read.
        """
        async with self._turn:
            return await asyncio.to_thread(self._make, record, format)

    def _make(self, record: Checkpoint, format: Format) -> Exported:
        rows = rows_if_there(self._database, self._files, record.spec["dataset"], MOST_ROWS)
        if rows is None:
            raise ExportRefused("there are no rows of its dataset to compare the two on")
        try:
            return _WRITERS[format](load(self._files, record), rows)
        except InputRefused as error:
            message = f"the rows of its dataset are not for this network: {error.message}"
            raise ExportRefused(message, **error.metadata) from error
