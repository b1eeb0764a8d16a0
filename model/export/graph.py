"""A network as the nodes of an ONNX graph, with the scaling of raw rows before it.

Operators of opset 21, all of the standard domain. Tensors keep their state-dict names.
"""

from typing import Any

import numpy as np
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from model.data.scaling import Scaling
from model.errors import ExportRefused
from model.networks.fold import divisor
from model.networks.indices import Columns
from model.networks.residual import Residual
from model.networks.shapes import Shape
from model.norms.group import GroupNorm
from model.norms.layer import LayerNorm
from model.norms.noise import Noise
from model.norms.running import RunningNorm

_ONNX_TYPE = {torch.float32: TensorProto.FLOAT, torch.float64: TensorProto.DOUBLE}
_ELEMENTWISE: dict[type[nn.Module], str] = {
    nn.Tanh: "Tanh",
    nn.ReLU: "Relu",
    nn.Sigmoid: "Sigmoid",
    nn.GELU: "Gelu",
    nn.ELU: "Elu",
    nn.LeakyReLU: "LeakyRelu",
}


class Graph:
    """Nodes in the order in which they run, and the constants they read.

    Args:
        dtype: of the network's tensors: float32 or float64.
        input_shapes: of each module, by its prefix (`model.networks.shapes`).
    """

    def __init__(self, dtype: torch.dtype, input_shapes: dict[str, Shape]) -> None:
        self.onnx_type = _ONNX_TYPE[dtype]
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._dtype = dtype
        self._shapes = input_shapes

    def scaled(self, scaling: Scaling, x: str) -> str:
        """Scale raw float64 rows as `Scaling.apply` does, and round them once at the end."""
        if scaling.divisor != 1:
            x = self._node("Div", "scaling.divisor", x, self._array("divisor", scaling.divisor))
        x = self._node("Sub", "scaling.shift", x, self._array("shift", scaling.shift))
        x = self._node("Div", "scaling.scale", x, self._array("scale", scaling.scale))
        if scaling.kind == "binary":
            x = self._node("Greater", "scaling.binary", x, self._array("zero", 0.0))
        return self._node("Cast", "scaling", x, to=self.onnx_type)

    def module(self, module: nn.Module, name: str, x: str) -> str:
        """Add a module in eval mode.

        Args:
            name: its state-dict prefix, "" for the network.
            x: the value that enters it.

        Returns:
            The value that leaves it.

        Raises:
            ExportRefused: there is no form for such a module.
        """
        match module:
            case nn.Sequential():
                for key, inner in module.named_children():
                    x = self.module(inner, f"{name}.{key}" if name else key, x)
                return x
            case Residual():
                sent = module.projection
                short_cut = x if sent is None else self.module(sent, f"{name}.projection", x)
                branch = self.module(module.branch, f"{name}.branch", x)
                return self._node("Add", name, short_cut, branch)
            case nn.Linear():
                return self._linear(module, name, x)
            case nn.Conv2d():
                return self._convolution(module, name, x)
            case RunningNorm() | LayerNorm() | GroupNorm():
                return self._norm(module, name, x)
            case nn.MaxPool2d() | nn.AvgPool2d():
                return self._pool(module, name, x)
            case nn.AdaptiveAvgPool2d(output_size=1):
                return self._node("GlobalAveragePool", name, x)
            case nn.Flatten(start_dim=1, end_dim=-1):
                return self._node("Flatten", name, x, axis=1)
            case nn.Unflatten(dim=1, unflattened_size=shape):
                axes = self._array(f"{name}.shape", np.array([0, *shape]))  # 0: as it comes
                return self._node("Reshape", name, x, axes)
            case Columns(first=first):
                bounds = {"starts": 0, "ends": first, "axes": -1}
                given = [self._array(f"{name}.{key}", np.array([at])) for key, at in bounds.items()]
                return self._node("Slice", name, x, *given)
            case nn.Embedding():
                indices = self._node("Cast", name, x, to=TensorProto.INT64)
                return self._node(
                    "Gather", name, self._tensor(f"{name}.weight", module.weight), indices
                )
            case nn.Dropout() | nn.Identity() | Noise():
                return x
            case nn.SiLU():
                return self._node("Mul", name, x, self._node("Sigmoid", name, x))
        return self._elementwise(module, name, x)

    def _elementwise(self, module: nn.Module, name: str, x: str) -> str:
        operator = _ELEMENTWISE.get(type(module))
        if operator is None:
            kind = type(module).__name__
            raise ExportRefused(f"no ONNX form for {kind} at {name}", layer=name, kind=kind)
        slopes: dict[str, Any] = {}
        if isinstance(module, nn.ELU):
            slopes["alpha"] = module.alpha
        if isinstance(module, nn.LeakyReLU):
            slopes["alpha"] = module.negative_slope
        return self._node(operator, name, x, **slopes)

    def _linear(self, layer: nn.Linear, name: str, x: str) -> str:
        if len(self._shapes[name]) == 1:
            return self._node("Gemm", name, x, *self._weights(layer, name), transB=1)
        x = self._node("MatMul", name, x, self._tensor(f"{name}.weight.T", layer.weight.T))
        if layer.bias is None:
            return x
        return self._node("Add", name, x, self._tensor(f"{name}.bias", layer.bias))

    def _convolution(self, layer: nn.Conv2d, name: str, x: str) -> str:
        return self._node(
            "Conv",
            name,
            x,
            *self._weights(layer, name),
            kernel_shape=_pair(layer.kernel_size),
            strides=_pair(layer.stride),
            pads=_pair(layer.padding) * 2,
            dilations=_pair(layer.dilation),
            group=layer.groups,
        )

    def _norm(self, norm: RunningNorm | LayerNorm | GroupNorm, name: str, x: str) -> str:
        if isinstance(norm, RunningNorm):
            return self._running_norm(norm, name, x)
        affine = self._affine(norm, name)
        sums = {"epsilon": float(norm.eps), "stash_type": int(self.onnx_type)}
        if isinstance(norm, LayerNorm):
            return self._node("LayerNormalization", name, x, *affine, axis=1, **sums)
        return self._node("GroupNormalization", name, x, *affine, num_groups=norm.groups, **sums)

    def _running_norm(self, norm: RunningNorm, name: str, x: str) -> str:
        """torch's kernel as its operator; the formulas of other conventions as they stand."""
        below = divisor(norm)
        if norm.holds_variance and norm.eps > 0:
            mean = self._tensor(f"{name}.running_mean", norm.running_mean)
            # Variance and eps as one number: the attribute could hold eps in float32 alone.
            squares = self._tensor(f"{name}.divisor.squared", below**2)
            affine = self._affine(norm, name)
            return self._node("BatchNormalization", name, x, *affine, mean, squares, epsilon=0.0)
        steps = (
            ("Sub", "running_mean", norm.running_mean),
            ("Div", "divisor", below),
            ("Mul", "weight", norm.weight),
            ("Add", "bias", norm.bias),
        )
        along = (-1, *(1,) * (len(self._shapes[name]) - 1))
        for operator, key, values in steps:
            if values is not None:
                constant = self._tensor(f"{name}.{key}", values.view(along))
                x = self._node(operator, name, x, constant)
        return x

    def _affine(self, norm: RunningNorm | LayerNorm | GroupNorm, name: str) -> tuple[str, str]:
        """Gain and bias, which ONNX wants where there are none."""
        shape = self._shapes[name] if isinstance(norm, LayerNorm) else self._shapes[name][:1]
        weight = torch.ones(shape) if norm.weight is None else norm.weight
        bias = torch.zeros(shape) if norm.bias is None else norm.bias
        return self._tensor(f"{name}.weight", weight), self._tensor(f"{name}.bias", bias)

    def _pool(self, pool: nn.MaxPool2d | nn.AvgPool2d, name: str, x: str) -> str:
        window: dict[str, Any] = {
            "kernel_shape": _pair(pool.kernel_size),
            "strides": _pair(pool.stride),
            "pads": _pair(pool.padding) * 2,
            "ceil_mode": int(pool.ceil_mode),
        }
        if isinstance(pool, nn.MaxPool2d):
            return self._node("MaxPool", name, x, **window)
        window["count_include_pad"] = int(pool.count_include_pad)
        return self._node("AveragePool", name, x, **window)

    def _weights(self, layer: nn.Linear | nn.Conv2d, name: str) -> list[str]:
        weight = self._tensor(f"{name}.weight", layer.weight)
        if layer.bias is None:
            return [weight]
        return [weight, self._tensor(f"{name}.bias", layer.bias)]

    def _tensor(self, name: str, tensor: Tensor) -> str:
        return self._array(name, tensor.detach().to(self._dtype).contiguous().numpy())

    def _array(self, name: str, values: np.ndarray | float) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def _node(self, operator: str, layer: str, *inputs: str, **attributes: Any) -> str:
        output = f"{layer}/{operator}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output


def _pair(size: Any) -> list[int]:
    """Height and width of what torch takes as one number or two."""
    return [size, size] if isinstance(size, int) else list(size)
