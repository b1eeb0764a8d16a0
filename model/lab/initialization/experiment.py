"""Does training depend on where it starts, and does batch norm free it from that?"""

from model.lab.experiment import Experiment
from model.lab.initialization.plan import Params, plan
from model.lab.initialization.report import SPREAD, report

EXPERIMENT = Experiment(
    kind="initialization",
    claim="Without norm the longest safe step depends on the initialization; with batch norm it "
    "varies at least 20 times less from start to start.",
    source="the three starts of the batch-norm post, after Santurkar et al. 2018, "
    "https://arxiv.org/abs/1805.11604",
    params=Params,
    declared=SPREAD,
    default_seconds=50,
    plan=plan,
    report=report,
)
