"""Every kind of experiment by its name."""

from collections.abc import Mapping

from model.lab import pair, sweep
from model.lab.affine import experiment as affine
from model.lab.bug_zoo import experiment as bug_zoo
from model.lab.class_sorted_batches import experiment as class_sorted_batches
from model.lab.covariate_shift import experiment as covariate_shift
from model.lab.ema_against_precise import experiment as ema_against_precise
from model.lab.experiment import Experiment
from model.lab.initialization import experiment as initialization
from model.lab.ioffe_mnist import experiment as ioffe_mnist
from model.lab.landscape import experiment as landscape
from model.lab.larger_rate import experiment as larger_rate
from model.lab.learning_rate_range import experiment as learning_rate_range
from model.lab.lp_norms import experiment as lp_norms
from model.lab.makemore import experiment as makemore
from model.lab.neuron_chain import experiment as neuron_chain
from model.lab.noisy_batch_norm import experiment as noisy_batch_norm
from model.lab.normalization_batch_size import experiment as normalization_batch_size
from model.lab.placement import experiment as placement
from model.lab.saturation import experiment as saturation
from model.lab.seed_post import experiment as seed_post
from model.lab.test_time_adaptation import experiment as test_time_adaptation

EXPERIMENTS: Mapping[str, Experiment] = {
    one.kind: one
    for one in (
        pair.EXPERIMENT,
        sweep.EXPERIMENT,
        bug_zoo.EXPERIMENT,
        ioffe_mnist.EXPERIMENT,
        affine.EXPERIMENT,
        noisy_batch_norm.EXPERIMENT,
        initialization.EXPERIMENT,
        learning_rate_range.EXPERIMENT,
        larger_rate.EXPERIMENT,
        saturation.EXPERIMENT,
        neuron_chain.EXPERIMENT,
        placement.EXPERIMENT,
        makemore.EXPERIMENT,
        covariate_shift.EXPERIMENT,
        landscape.EXPERIMENT,
        lp_norms.EXPERIMENT,
        ema_against_precise.EXPERIMENT,
        class_sorted_batches.EXPERIMENT,
        normalization_batch_size.EXPERIMENT,
        test_time_adaptation.EXPERIMENT,
        seed_post.EXPERIMENT,
    )
}
