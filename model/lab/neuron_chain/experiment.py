"""What one step of three neurons does to the input of the last, and what is stale in it."""

from model.lab.experiment import Experiment
from model.lab.neuron_chain.params import Params, plan
from model.lab.neuron_chain.report import CHANGE, report

EXPERIMENT = Experiment(
    kind="neuron_chain",
    claim="Even where the row stays the same, one step changes the input of neuron c by more "
    "than 1 %.",
    source="the example of internal covariate shift in the post, https://github.com/Iancheung228 "
    "(BatchNorm, 2024-04-01); definition 2.1 of Santurkar et al. 2018, "
    "https://arxiv.org/abs/1805.11604",
    params=Params,
    declared=CHANGE,
    default_seconds=2,
    plan=plan,
    report=report,
)
