"""The one device that a child process works on."""

import os

import torch


def open_device(kind: str, visible: str | None) -> torch.device:
    """The device of this process, which sees no other GPU.

    Args:
        kind: cpu or cuda.
        visible: the one CUDA device that it may see.
    """
    if visible is not None:
        # CUDA reads this at its first use, which is later than here.
        os.environ["CUDA_VISIBLE_DEVICES"] = visible  # noqa: TID251
    return torch.device(kind)
