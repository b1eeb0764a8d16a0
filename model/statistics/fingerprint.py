"""One hash for the running statistics of a network, and one for everything else in it.

A hash covers names, types, shapes and bytes, so two networks answer alike in eval mode only
if both hashes agree. It knows nothing of layers: a tensor's name says what it is.
"""

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

STATISTICS = (
    "running_mean",
    "running_var",
    "running_deviation",
    "running_scale",
    "num_batches_tracked",
)


def is_statistic(name: str) -> bool:
    """Whether a state-dict name is a running statistic or its counter."""
    return name.rpartition(".")[2] in STATISTICS


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """ "sha256:..." over the running statistics among `tensors`, whatever their order.

    Without any statistic it is the hash of nothing, the same for every such network.
    """
    return _hash({name: one for name, one in tensors.items() if is_statistic(name)})


def weights_hash(tensors: Mapping[str, Tensor]) -> str:
    """ "sha256:..." over all tensors that are no running statistic."""
    return _hash({name: one for name, one in tensors.items() if not is_statistic(name)})


def _hash(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        dtype = str(tensor.dtype).removeprefix("torch.")
        digest.update(json.dumps([name, dtype, list(tensor.shape)]).encode())
        digest.update(_little_endian(tensor))
    return "sha256:" + digest.hexdigest()


def _little_endian(tensor: Tensor) -> bytes:
    plain = tensor.detach().cpu().contiguous()
    if plain.dtype == torch.bfloat16:  # numpy has no such type; the bytes are what counts
        plain = plain.view(torch.int16)
    array: np.ndarray = plain.numpy()
    return array.astype(array.dtype.newbyteorder("<")).tobytes()
