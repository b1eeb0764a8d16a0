"""The folded network as a safetensors file with plain PyTorch names."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from model.checkpoint import Loaded, to_bytes
from model.errors import FoldRefused
from model.export.exported import Exported, metadata, on_cpu, reference
from model.export.plain import plain
from model.networks.comparison import logits, measure, refuse_far
from model.networks.fold import fold


def safetensors_folded(loaded: Loaded, rows: npt.NDArray[np.generic]) -> Exported:
    """Fold the batch norms into the layers before them and write the state dict.

    Tensors keep their names, and an identity takes a folded norm's place, so the file loads
    with `strict=True` into torch's own layers written by hand. A norm that stayed has a
    `running_var`, and the metadata its `eps`. The scaling is in the metadata alone: such a
    network takes rows that went through y = (x / divisor - shift) / scale.

    Equal checkpoints and rows give equal bytes.

    Args:
        rows: calibration rows, raw, as `Predictor.logits` takes them.

    Returns:
        The file. Its metadata (JSON text) says what was folded, what stayed, and how far its
        logits are from those of the unfolded network in eval mode, on these rows.

    Raises:
        InputRefused: rows that the network cannot answer.
        FoldRefused: the logits are too far off; every number is told.
        ExportRefused: a running deviation that no running variance stands for.
    """
    expected = reference(loaded, rows)
    folded = fold(on_cpu(loaded.network), loaded.facts.input_shape)
    folded = replace(folded, network=plain(folded.network))
    answers = logits(folded.network, expected.inputs, loaded.block_rows)
    comparison = measure(answers, expected.unfolded, expected.exact, FoldRefused)
    refuse_far(comparison, "folded", FoldRefused)
    about = metadata(loaded, folded, comparison)
    tensors = {name: one.contiguous() for name, one in folded.network.state_dict().items()}
    return Exported(to_bytes(tensors, about), about, comparison)
