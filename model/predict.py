"""Raw rows in, logits out: eval mode, inference mode, the scaling of the training split."""

from copy import deepcopy

import numpy as np
import numpy.typing as npt
import torch

from model.blocks import LEAST_ROWS
from model.checkpoint import Loaded
from model.errors import FoldRefused, InputRefused
from model.networks.comparison import Comparison, checked
from model.networks.fold import Folded, fold
from model.networks.indices import refuse_indices
from model.statistics.drift.probe import Probe
from model.statistics.drift.reference import running
from model.statistics.drift.units import refuse_hidden


class Predictor:
    """Answers rows with exactly the running statistics of a checkpoint.

    A row's logits do not depend on its neighbours. Matrix kernels may sum a very small
    batch in another order, so fewer than 8 rows are padded to 8: alone and in company a
    row then takes the same path.

    With calibration rows, batch norm is folded into the layers before it, if the rows are then
    answered as near to float64 as `model.networks.comparison` wants, and if the input of every
    norm can still be told; otherwise the network answers as trained.

    Args:
        loaded: left as it is.
        calibration_rows: raw, as `logits` takes them.

    Attributes:
        loaded: the checkpoint, its network as trained: what inspection reads.
        network: what answers.
        folded, comparison: what became of the norms, and how near the answers are; None where
            the network as trained answers.
        refusal: why it does, in words; None where nothing was refused.
    """

    def __init__(
        self, loaded: Loaded, calibration_rows: npt.NDArray[np.generic] | None = None
    ) -> None:
        self.loaded = loaded
        self.network = loaded.network
        self.folded: Folded | None = None
        self.comparison: Comparison | None = None
        self.refusal: str | None = None
        self._probe: Probe | None = None
        self._type = np.float64 if loaded.spec.precision == "float64" else np.float32
        self._device = next(loaded.network.parameters()).device
        if calibration_rows is not None:
            self._try_fold(calibration_rows)

    def watch(self) -> Probe:
        """The probe of the network that answers, made when it is first asked for.

        For the thread that predicts. A network that nobody watches has none, and pays nothing.
        """
        if self._probe is None:
            self._probe = Probe(self.network, self.loaded.network)
        return self._probe

    def logits(self, rows: npt.NDArray[np.generic]) -> npt.NDArray[np.float32 | np.float64]:
        """One row of logits (or predicted numbers) for each input row.

        Args:
            rows: (n, *input_shape), or (n, product of input_shape); raw, as in the dataset.

        Returns:
            (n, outputs), float32, or float64 for a float64 run.

        Raises:
            InputRefused: no row, another shape, a value that is not finite, or no index where
                the network looks up such.
        """
        inputs = self._scaled(self._checked(rows))
        with torch.inference_mode():
            blocks = [self._block(block) for block in inputs.split(self.loaded.block_rows)]
        return np.concatenate(blocks)

    def _try_fold(self, rows: npt.NDArray[np.generic]) -> None:
        try:
            self._fold(self._scaled(self._checked(rows)))
        except (FoldRefused, InputRefused) as refused:
            self.refusal = refused.message

    def _fold(self, inputs: torch.Tensor) -> None:
        as_trained = deepcopy(self.loaded.network).cpu()
        folded = fold(as_trained, self.loaded.facts.input_shape)
        if not folded.in_layers:
            return
        references = running(as_trained)
        if not references:  # of l_p norms: drift is watched before them, in units of no norm
            return
        refuse_hidden(folded, as_trained, references)
        self.comparison = checked(folded.network, as_trained, inputs, self.loaded.block_rows)
        self.folded, self.network = folded, folded.network.to(self._device)

    def _checked(self, rows: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        shape = self.loaded.facts.input_shape
        width = int(np.prod(shape))
        if rows.ndim < 2 or (rows.shape[1:] != shape and rows.shape[1:] != (width,)):
            raise InputRefused(
                f"expected rows of shape {list(shape)}, got inputs of shape {list(rows.shape)}",
                expected=list(shape),
                got=list(rows.shape),
            )
        if len(rows) == 0:
            raise InputRefused("expected at least one row, got none", rows=0)
        refuse_rows(np.isfinite(rows), "not finite")
        rows = rows.reshape(len(rows), *shape)
        refuse_indices(self.loaded.network, rows)
        return rows

    def _scaled(self, rows: npt.NDArray[np.generic]) -> torch.Tensor:
        with np.errstate(over="ignore"):  # refused below, by row
            scaled = self.loaded.scaling.apply(rows, dtype=self._type)
        refuse_rows(np.isfinite(scaled), f"too large for {np.dtype(self._type).name}")
        return torch.from_numpy(np.ascontiguousarray(scaled))

    def _block(self, inputs: torch.Tensor) -> npt.NDArray[np.float32 | np.float64]:
        padding = LEAST_ROWS - len(inputs)
        padded = (
            torch.cat([inputs, inputs[-1:].expand(padding, *inputs.shape[1:])])
            if padding > 0
            else inputs
        )
        logits = self.network(padded.to(self._device))
        answer: npt.NDArray[np.float32 | np.float64] = logits[: len(inputs)].cpu().numpy()
        return answer


def refuse_rows(is_good: npt.NDArray[np.bool_], what: str) -> None:
    """Refuse rows by the index of the first that holds a bad value."""
    good = is_good.reshape(len(is_good), -1).all(1)
    if not good.all():
        row = int(np.argmin(good))
        raise InputRefused(f"row {row} holds a value that is {what}", row=row)
