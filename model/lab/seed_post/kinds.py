"""The experiments that settle the post's claims, by kind."""

from collections.abc import Mapping

from model.lab.affine import experiment as affine
from model.lab.covariate_shift import experiment as covariate_shift
from model.lab.experiment import Experiment
from model.lab.initialization import experiment as initialization
from model.lab.landscape import experiment as landscape
from model.lab.learning_rate_range import experiment as learning_rate_range
from model.lab.neuron_chain import experiment as neuron_chain
from model.lab.noisy_batch_norm import experiment as noisy_batch_norm
from model.lab.placement import experiment as placement
from model.lab.saturation import experiment as saturation

KINDS: Mapping[str, Experiment] = {
    one.kind: one
    for one in (
        affine.EXPERIMENT,
        saturation.EXPERIMENT,
        neuron_chain.EXPERIMENT,
        covariate_shift.EXPERIMENT,
        noisy_batch_norm.EXPERIMENT,
        placement.EXPERIMENT,
        landscape.EXPERIMENT,
        initialization.EXPERIMENT,
        learning_rate_range.EXPERIMENT,
    )
}
