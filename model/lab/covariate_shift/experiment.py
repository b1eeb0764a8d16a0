"""Does batch norm reduce internal covariate shift?"""

from model.lab.covariate_shift.arms import Params, plan
from model.lab.covariate_shift.report import report
from model.lab.covariate_shift.shifts import PRIMARY
from model.lab.experiment import Experiment

EXPERIMENT = Experiment(
    kind="covariate_shift",
    claim="Batch norm reduces internal covariate shift: a step of the layers before moves the "
    "gradient of a deep layer less than without.",
    source="the batch-norm post, second benefit, after Ioffe and Szegedy 2015, "
    "https://arxiv.org/abs/1502.03167; measured as in definition 2.1 and figure 3 of Santurkar "
    "et al. 2018, https://arxiv.org/abs/1805.11604, who found that it does not",
    params=Params,
    declared=PRIMARY,
    default_seconds=90,
    plan=plan,
    report=report,
)
