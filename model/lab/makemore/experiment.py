"""The diagnostics of makemore part 3: what a careful start does, and batch norm in its place."""

from model.lab.experiment import Experiment
from model.lab.makemore.arms import Params, plan
from model.lab.makemore.report import DEPTH, report

EXPERIMENT = Experiment(
    kind="makemore",
    claim="Without norm the gain of the weights decides how activations change with depth; with "
    "batch norm they keep their deviation at every gain.",
    source="Karpathy, makemore part 3, from which the post's code descends, "
    "https://github.com/karpathy/nn-zero-to-hero",
    params=Params,
    declared=DEPTH,
    default_seconds=45,
    plan=plan,
    report=report,
)
