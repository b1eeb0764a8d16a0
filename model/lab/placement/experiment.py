"""Does the next layer get mean 0 and variance 1 from a batch norm before the activation?"""

from model.lab.experiment import Experiment
from model.lab.placement.arms import Params, plan
from model.lab.placement.report import START, report

EXPERIMENT = Experiment(
    kind="placement",
    claim="Batch norm before the activation leaves the next layer's input away from mean 0 and "
    "variance 1; behind the activation it does not.",
    source="counter argument 2 of the post, https://github.com/Iancheung228 (BatchNorm, "
    "2024-04-01); the place is that of Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167",
    params=Params,
    declared=START,
    default_seconds=20,
    plan=plan,
    report=report,
)
