"""Every kind of experiment by its name."""

from collections.abc import Mapping

from model.lab import pair, sweep
from model.lab.bug_zoo import experiment as bug_zoo
from model.lab.experiment import Experiment
from model.lab.initialization import experiment as initialization
from model.lab.ioffe_mnist import experiment as ioffe_mnist

EXPERIMENTS: Mapping[str, Experiment] = {
    one.kind: one
    for one in (
        pair.EXPERIMENT,
        sweep.EXPERIMENT,
        bug_zoo.EXPERIMENT,
        ioffe_mnist.EXPERIMENT,
        initialization.EXPERIMENT,
    )
}
