"""How long a run takes on one core, from its plan: an estimate to decide by, good to a factor of 2.

    seconds = steps * (step + layers * layer + 3 * rows * per_row) * (1 + measures)
            + evaluations * held-out rows * per_row + start

where `per_row` is the multiply-adds of one row over a throughput, and what every value that a
layer leaves behind costs. The forward pass counts once, the backward pass twice; `measures` is
the share of their row-passes in the training's. The constants were measured on one core of an
Intel Xeon; ten networks from 450 steps of digits to VGG-16 came within a factor of 2.
"""

from math import prod

from model.measures.periods import planned, training_passes
from model.plan import Checked
from model.sizes import PlannedLayer
from model.spec import Conv2d, Linear

START_SECONDS = 0.3  # reading rows, building, saving and scoring the checkpoint
STEP_SECONDS = 1.2e-4  # optimizer, loss and the loop itself
LAYER_SECONDS = 3.5e-5  # forward and backward of a layer too small to take any time
#: Multiply-adds a second of one core in float32. Small images fill it badly.
LINEAR_PER_SECOND = 5e10
CONVOLUTION_PER_SECOND = 3e10
VALUES_PER_SECOND = 1.2e9  # that an activation or a norm reads and writes
FLOAT64_FACTOR = 2.0


def run_seconds(checked: Checked) -> float:
    """Seconds that a run takes on one core of a CPU."""
    per_row = forward_seconds(checked)
    step = STEP_SECONDS + len(list(checked.plan.walk())) * LAYER_SECONDS
    training = checked.steps * (step + 3 * checked.batches.size * per_row)
    training *= 1 + sum(one.row_passes for one in planned(checked)) / training_passes(checked)
    held_out = checked.rows.test + checked.rows.validation
    evaluations = checked.steps // checked.evaluate_every + 1
    return START_SECONDS + training + evaluations * held_out * per_row


def forward_seconds(checked: Checked) -> float:
    """Seconds that one row of many takes forward on one core of a CPU."""
    seconds = sum(_row_seconds(layer) for layer in checked.plan.walk())
    return seconds * (FLOAT64_FACTOR if checked.spec.precision == "float64" else 1.0)


def multiply_adds(layer: PlannedLayer) -> int:
    """Of one row through one layer with weights; 0 for any other."""
    outputs = prod(layer.output_shape)
    match layer.layer:
        case Linear():
            return outputs * layer.input_shape[-1]
        case Conv2d():
            return outputs * layer.layer.kernel_size**2 * layer.input_shape[0]
        case _:
            return 0


def _row_seconds(layer: PlannedLayer) -> float:
    rate = CONVOLUTION_PER_SECOND if isinstance(layer.layer, Conv2d) else LINEAR_PER_SECOND
    return multiply_adds(layer) / rate + prod(layer.output_shape) / VALUES_PER_SECOND
