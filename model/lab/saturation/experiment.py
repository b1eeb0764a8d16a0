"""Does batch norm keep tanh units from being saturated, and are saturated units dead?"""

from model.lab.experiment import Experiment
from model.lab.saturation.arms import Params, plan
from model.lab.saturation.report import START, report

EXPERIMENT = Experiment(
    kind="saturation",
    claim="Without norm many more values of the tanh layer are saturated before the first step "
    "than with batch norm.",
    source="the first benefit of batch norm in the post, https://github.com/Iancheung228 "
    "(BatchNorm, 2024-04-01), after Karpathy, makemore part 3, "
    "https://github.com/karpathy/nn-zero-to-hero",
    params=Params,
    declared=START,
    default_seconds=28,
    plan=plan,
    report=report,
)
