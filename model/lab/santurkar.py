"""The networks of Santurkar et al. 2018, and what stands for them on two cores, as fields of specs.

Published are a VGG on CIFAR-10, plain SGD at a learning rate of .1, mini-batches of 128, Glorot
initialization, 15,000 steps; and a deep linear network, y = W_25 ... W_1 x, fitted to a random
linear map of 1,000 rows, all of them at every step, half the sum of squares as its loss. The
layers of the VGG are not listed; its figures name a 13th, which makes it network D of Simonyan
and Zisserman 2014. Where the norm stands in the deep linear network is not said either; here it
is behind every layer but the last.

Santurkar et al. 2018, section 2 and appendix A: https://arxiv.org/abs/1805.11604
"""

from collections.abc import Sequence
from typing import Any

PUBLISHED_STEPS = {"vgg": 15_000, "deep_linear": 10_000}
RATE, BATCH = 0.1, 128  # of networks that classify
LINEAR_RATE, LINEAR_BATCH = 1e-7, 1_000  # of the deep linear network, with a sum as its loss
_DIGITS = (1, 8, 8)  # how the rows of the built-in digits are laid out as images

#: Every row that is not held out trains.
_SPLIT = {"calibration": 0.0}


def perceptron(dataset: str, scaling: str) -> dict[str, Any]:
    """A spec's fields: eight hidden layers of 100 ReLUs, which train on any rows."""
    network = {"kind": "mlp", "hidden": [100] * 8, "activation": "relu"}
    return _classifier(dataset, scaling, network)


def small_vgg(dataset: str, image_shape: Sequence[int] | None) -> dict[str, Any]:
    """A spec's fields: network A at an eighth of its channels.

    It starts from He's initialization: from Glorot's, which is published, it stays at chance
    without norm, for every ReLU halves what passes.

    Args:
        image_shape: how flat rows are laid out as images; None: as those of the digits, or they
            are images.
    """
    fields = _classifier(dataset, "standard", _vgg(dataset, image_shape, depth=11, width=0.125))
    return {**fields, "init": {"kind": "kaiming_normal"}}


def published_vgg(dataset: str, image_shape: Sequence[int] | None) -> dict[str, Any]:
    """A spec's fields: network D with all of its channels."""
    return _classifier(dataset, "standard", _vgg(dataset, image_shape, depth=16, width=1.0))


def deep_linear(dataset: str) -> dict[str, Any]:
    """A spec's fields: 25 linear layers, as wide as there are outputs."""
    return {
        "dataset": dataset,
        "split": _SPLIT,
        # The built-in rows are drawn from N(0, 1) and need no scaling.
        "scaling": "none" if dataset == "gaussian_linear" else "standard",
        "network": {"kind": "deep_linear", "layers": 25},
        "loss": {"kind": "half_sum_squares"},
        "optimizer": {"kind": "sgd", "lr": LINEAR_RATE},
        "batch_size": LINEAR_BATCH,
        "init": {"kind": "xavier_normal"},
    }


def _classifier(dataset: str, scaling: str, network: dict[str, Any]) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "split": _SPLIT,
        "scaling": scaling,
        "network": network,
        "optimizer": {"kind": "sgd", "lr": RATE},
        "batch_size": BATCH,
        "init": {"kind": "xavier_normal"},
    }


def _vgg(
    dataset: str, image_shape: Sequence[int] | None, depth: int, width: float
) -> dict[str, Any]:
    shape = _DIGITS if image_shape is None and dataset == "digits" else image_shape
    laid_out = None if shape is None else list(shape)
    return {"kind": "vgg", "depth": depth, "width": width, "image_shape": laid_out}
