"""Does it have to be batch norm, or do norms train as well that divide by another l_p norm?"""

from model.lab.experiment import Experiment
from model.lab.lp_norms.arms import Params, plan
from model.lab.lp_norms.losses import PRIMARY
from model.lab.lp_norms.report import report

EXPERIMENT = Experiment(
    kind="lp_norms",
    claim="A deep linear network that divides by the l_1 norm of what it normalizes trains further "
    "than one with batch norm.",
    source="section 3.3 and figures 5 and 14 of Santurkar et al. 2018, "
    "https://arxiv.org/abs/1805.11604",
    params=Params,
    declared=PRIMARY,
    default_seconds=225,
    plan=plan,
    report=report,
)
