"""A checkpoint in another form, verified on rows of its own dataset before it is sent."""

import asyncio
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from api.stored import load
from core import datasets
from core.checkpoints import Checkpoint
from core.database import Database
from core.files import FileStore
from model.checkpoint import Loaded
from model.export.exported import Exported
from model.export.onnx_file import onnx
from model.export.safetensors_file import safetensors_folded

Format = Literal["onnx", "safetensors_folded"]

CALIBRATION_ROWS = 256  # evenly over the dataset, so that a sorted file gives every class
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
            ExportRefused: the form cannot hold the network, or answers too far from it.
            DatasetNotFound: the rows to compare on are gone.
            CheckpointRefused, FileMissing, StoreUnavailable: the file cannot be read.
        """
        dataset = await self._database.aread(lambda c: datasets.get(c, record.spec["dataset"]))
        async with self._turn:
            return await asyncio.to_thread(self._make, record, dataset.keys, format)

    def _make(self, record: Checkpoint, keys: tuple[str, ...], format: Format) -> Exported:
        loaded = load(self._files, record)
        [inputs] = [key for key in keys if key.endswith("/inputs.npy")]
        rows = np.load(self._files.local(inputs), mmap_mode="r", allow_pickle=False)
        chosen = np.linspace(0, len(rows) - 1, min(len(rows), CALIBRATION_ROWS)).astype(np.int64)
        return _WRITERS[format](loaded, rows[chosen])
