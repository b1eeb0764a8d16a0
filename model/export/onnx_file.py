"""The network as an ONNX file that takes raw rows, run by onnxruntime before it is handed out."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from onnx import ModelProto, TensorProto, checker, helper
from onnxruntime import InferenceSession, SessionOptions
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as KernelMissing
from torch import Tensor, nn

from model.checkpoint import Loaded
from model.errors import ExportRefused
from model.export.exported import Exported, metadata, on_cpu, reference
from model.export.graph import Graph
from model.networks.comparison import measure, refuse_far
from model.networks.fold import Folded, Stayed, fold
from model.networks.shapes import input_shapes
from model.norms.running import RunningNorm

#: Versions of the operators and of the file that runtimes of the last years read.
OPSET, IR_VERSION = 21, 10
INPUT, OUTPUT = "rows", "logits"
MOST_BYTES = 2**31 - 2**20  # a protobuf message ends at 2 GiB


def onnx(loaded: Loaded, rows: npt.NDArray[np.generic], *, folded: bool = True) -> Exported:
    """Write the network in eval mode, its scaling inside, as an ONNX file.

    The graph takes `rows`, raw, float64, (any number, *input_shape), scales them in float64
    as the service does, and gives `logits`, (as many, outputs), in the network's own type.
    Unlike the service it does not refuse a row that holds NaN or infinity.

    Equal checkpoints and rows give equal bytes.

    Args:
        rows: calibration rows, raw, as `Predictor.logits` takes them.
        folded: put each norm over the batch into the layer before it, where it can be.

    Returns:
        The file. Its metadata (JSON text) says what was folded, what stayed, and how far
        onnxruntime's logits are from those of the service, on these rows.

    Raises:
        InputRefused: rows that the network cannot answer.
        FoldRefused: a folded tensor would not be finite.
        ExportRefused: the logits are too far off (every number is told), the file would be
            over 2 GiB, or onnxruntime has no kernel for an operator, as for a convolution in
            float64.
    """
    expected = reference(loaded, rows)
    network = on_cpu(loaded.network)
    shape = loaded.facts.input_shape
    made = fold(network, shape) if folded else _as_it_is(network)
    model = _model(loaded, made.network)
    whole = rows.reshape(len(rows), *shape).astype(np.float64)
    answers = _run(model, np.split(whole, range(loaded.block_rows, len(whole), loaded.block_rows)))
    comparison = measure(answers, expected.unfolded, expected.exact)
    refuse_far(comparison, "in ONNX", ExportRefused)
    about = metadata(loaded, made, comparison)
    helper.set_model_props(model, dict(sorted(about.items())))
    return Exported(_bytes(model), about, comparison)


def _as_it_is(network: nn.Module) -> Folded:
    norms = [name for name, module in network.named_modules() if isinstance(module, RunningNorm)]
    return Folded(network, (), tuple(Stayed(name, "not folded, as asked") for name in norms))


def _model(loaded: Loaded, network: nn.Module) -> ModelProto:
    tensors = network.state_dict().values()
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if num_bytes > MOST_BYTES:
        message = f"{num_bytes} bytes of tensors; an ONNX file holds at most {MOST_BYTES}"
        raise ExportRefused(message, num_bytes=num_bytes, most_bytes=MOST_BYTES)
    facts = loaded.facts
    dtype = next(tensor.dtype for tensor in tensors)
    graph = Graph(dtype, input_shapes(network, facts.input_shape))
    last = graph.module(network, "", graph.scaled(loaded.scaling, INPUT))
    graph.nodes.append(helper.make_node("Identity", [last], [OUTPUT], name=OUTPUT))
    raw = helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, ["n", *facts.input_shape])
    answer = helper.make_tensor_value_info(OUTPUT, graph.onnx_type, ["n", facts.outputs])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "network", [raw], [answer], graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="evalmode",
    )
    checker.check_model(model, full_check=True)
    return model


def _run(model: ModelProto, blocks: Iterable[npt.NDArray[np.float64]]) -> Tensor:
    """What onnxruntime answers, on one thread of the CPU."""
    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = InferenceSession(_bytes(model), options, providers=["CPUExecutionProvider"])
    except KernelMissing as error:
        raise ExportRefused(f"onnxruntime cannot run it: {error}") from error
    answers = [session.run([OUTPUT], {INPUT: block})[0] for block in blocks]
    return torch.from_numpy(np.concatenate(answers))


def _bytes(model: ModelProto) -> bytes:
    content: bytes = model.SerializeToString(deterministic=True)
    return content
