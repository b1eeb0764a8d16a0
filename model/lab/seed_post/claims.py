"""The claims of the post in its own order, what settles each, and what it leaves open.

The post "BatchNorm" of 2024-04-01: https://iancheung228.github.io
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Part = Literal[
    "affine",
    "saturation",
    "neuron_chain",
    "covariate_shift",
    "noisy_batch_norm",
    "placement",
    "landscape",
    "initialization",
    "learning_rate_range",
]


@dataclass(frozen=True)
class PostClaim:
    """One claim of the post."""

    kind: Part  # of the experiment
    title: str
    claim: str  # as the post makes it
    leaves_open: tuple[str, ...]  # or gets wrong, a sentence each
    #: Where not the kind's defaults: smaller, so that all claims are settled within minutes.
    params: Mapping[str, Any] = field(default_factory=dict)
    #: Beside the dataset, where one is asked for: without what only some datasets allow.
    of_any: Mapping[str, Any] = field(default_factory=dict)


CLAIMS = (
    PostClaim(
        "affine",
        "What batch norm is",
        "A learned gain and bias give back the expressive power that normalizing takes away.",
        (
            "The post's running buffer holds deviations and not variances: an average of "
            "deviations is not the root of an average of variances.",
            "With a share of .001 for the newest batch, 37 % of the first 0 and 1 are left after "
            "1,000 steps, and evaluation in the meantime is wrong; the post does not say so.",
            "Its code divides by the unbiased deviation without an eps, so a unit that is constant "
            "over a batch becomes NaN.",
        ),
        {"depths": [1]},
    ),
    PostClaim(
        "saturation",
        "First benefit: no dead or saturated units",
        "Batch norm before the activation greatly lowers the chance of units on the flat regions.",
        (
            "Saturated is not dead. A unit is dead, in the post's own words, when no change of its "
            "weights has a meaningful effect on the loss; a unit that is flat on nine rows of ten "
            "still learns from the tenth.",
            "The weights are drawn from N(0, 1) for 500 inputs, so the deviation before the "
            "activation is 22: dividing them by the root of the fan-in does what batch norm does "
            "here.",
        ),
        of_any={"fan_in": None},
    ),
    PostClaim(
        "neuron_chain",
        "Internal covariate shift, by hand",
        "The input of neuron c changes from one step to the next even where x does not, and its "
        "update uses a stale weight of neuron b.",
        (
            "The weight is not stale: with one simultaneous update every gradient is that of the "
            "weights as they are now. Something is stale only where layers are updated one after "
            "another without computing the rest again.",
            "Backpropagation orders the computation of gradients, last layer first; it does not "
            "order the updates, which all come after it.",
            '"The root cause of ICS is ..." is not finished. What the chain shows: the input of a '
            "layer is a function of the weights below it, and they move in the same step.",
        ),
    ),
    PostClaim(
        "covariate_shift",
        "Second benefit: less internal covariate shift",
        "Batch norm reduces the shift of a layer's input from step to step.",
        (
            '"Why is ICS a problem in the setting of training?" is not answered. Santurkar et al. '
            "measure it as the change of a layer's gradient by the update of the layers before "
            "it; by that measure batch norm does not reduce it, and the network trains better.",
            "The table puts two shifts side by side that need two remedies: a shift between "
            "training and test is in the data, and recalibrating the running statistics may help; "
            "an internal shift is in the weights, and ends with training.",
            "Where it says epoch, a step is meant: the weights move with every batch.",
        ),
        of_any={"network": "mlp"},
    ),
    PostClaim(
        "noisy_batch_norm",
        "Counter argument 1: noise behind the norm",
        "Noise behind batch norm brings the shift back, and the network trains nearly as well.",
        (
            "It does not follow that no shift matters: the noise is bounded, and the norm in front "
            "of it stays. What fails is that the benefit disappears with the stability.",
            "The control is missing: the same noise without a norm.",
        ),
        {"lr": [0.5], "steps": 1_000},
    ),
    PostClaim(
        "placement",
        "Counter argument 2: the norm stands before the activation",
        "The input of the next layer has not mean 0 and variance 1, because the activation stands "
        "in between.",
        (
            'The post says the input is "still non-zero mean"; it means zero mean.',
            "What reaches the next layer is fixed all the same: behind a ReLU of N(0, 1) the mean "
            "is .399 and the variance .341, whatever the weights do.",
        ),
    ),
    PostClaim(
        "landscape",
        "Third benefit: a smoother loss",
        "With batch norm the loss and its gradient change less along the gradient.",
        (
            "The gradient is not bounded by the constant L; the slope of any secant is, and so the "
            "norm of the gradient where there is one.",
            "The paper is of 2018, not of 2019. What it measures is along the gradient and at step "
            "lengths that training takes; it is no constant of the whole surface.",
        ),
    ),
    PostClaim(
        "initialization",
        "Independence of the initialization",
        "Without batch norm training depends on where it starts; with it, on no start.",
        (
            "The three pictures are drawn, not measured, and of one dimension.",
            "From good starts the network without norm takes larger safe steps than the one with "
            "norm. What batch norm buys is that the safe step is nearly the same from everywhere.",
        ),
        {"rates": [0.1, 0.3, 1.0]},
    ),
    PostClaim(
        "learning_rate_range",
        "Larger learning rates",
        "With batch norm larger learning rates train, and train faster.",
        (
            "Larger than what: a rate that is well chosen for a good start without norm may be as "
            "fast. The claim is about rates that would diverge.",
        ),
        {"steps": 600},
    ),
)
