"""Every kind of experiment by its name."""

from collections.abc import Mapping

from model.lab import pair, sweep
from model.lab.experiment import Experiment
from model.lab.ioffe_mnist import experiment as ioffe_mnist

EXPERIMENTS: Mapping[str, Experiment] = {
    one.kind: one
    for one in (
        pair.EXPERIMENT,
        sweep.EXPERIMENT,
        ioffe_mnist.EXPERIMENT,
    )
}
