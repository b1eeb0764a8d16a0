"""Does batch norm smooth the loss along the gradient?"""

from model.lab.experiment import Experiment
from model.lab.landscape.arms import Params, plan
from model.lab.landscape.report import report
from model.lab.landscape.widths import BAND

EXPERIMENT = Experiment(
    kind="landscape",
    claim="Batch norm smooths the loss: along the gradient it varies at least three times less.",
    source="the batch-norm post, third benefit, after figure 4 of Santurkar et al. 2018, "
    "https://arxiv.org/abs/1805.11604; surfaces as in Li et al. 2018, "
    "https://arxiv.org/abs/1712.09913",
    params=Params,
    declared=BAND,
    default_seconds=27,
    plan=plan,
    report=report,
)
