"""What the experiment on l_p norms answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from model.lab import factors
from model.lab.arms import ended_early, sentence
from model.lab.lp_norms import figures, losses
from model.lab.lp_norms.arms import NORMS, Params, steps_of
from model.lab.report import Report
from model.lab.results import Results
from model.lab.santurkar import PUBLISHED_STEPS
from model.lab.verdict import Effect

REFERENCE = "none"
DIVERGED_IS = "counted as the largest loss and the largest shift that was seen"


def report(params: Params, results: Results) -> Report:
    """Do norms train as well that divide by another l_p norm?"""
    effect, others = losses.primary(params, results), losses.others(params, results)
    proven = _proofs(params, results)
    return Report(
        effect=effect,
        summary=_summary(effect, others),
        tables=losses.tables(params, results),
        figures=figures.draw(params, results),
        caveats=(*_caveats(params), *ended_early(results, DIVERGED_IS), *factors.caveats(proven)),
        factors=proven,
        others=others,
    )


def _summary(effect: Effect, others: Sequence[Effect]) -> str:
    answers = {
        "supports": "Dividing by the l_1 norm trains further than batch norm.",
        "contradicts": "Dividing by the l_1 norm trains no further than batch norm.",
        "inconclusive": "Whether dividing by the l_1 norm trains further than batch norm is open.",
    }
    against_none = [one for one in others if one.declared.name.endswith("/ none")]
    worse = [
        one.declared.name
        for one in against_none
        if one.declared.claimed == "below" and one.verdict != "supports"
    ]
    told = [answers[effect.verdict], sentence(effect)]
    if worse:
        told.append(f"Not shown to be better than no norm: {'; '.join(worse)}.")
    return " ".join(told)


def _caveats(params: Params) -> tuple[str, ...]:
    told = [
        "No learning rate was tuned for any arm. The largest of many values is several times "
        "their deviation, so that linf makes smaller outputs and steps than the others at the same "
        "rate; compare it at a rate of its own.",
        "An l_p norm divides by what a unit is before it is centered, not by its spread. In the "
        "deep linear network, whose rows are centered, l_2 is therefore nearly batch norm.",
        "An input's shift is told in its own SDs: what shrinks the outputs of a layer alone does "
        "not make it smaller.",
    ]
    if "deep_linear" in params.networks:
        told.append(
            "The loss of a deep linear network lingers near the best maps of low rank, and none "
            "is expected to come to 0 in so few steps: steps to a level say more than the last "
            "loss."
        )
        steps, whole = steps_of(params, "deep_linear"), PUBLISHED_STEPS["deep_linear"]
        if steps < whole:
            told.append(
                f"The deep linear network is trained for {steps:,} of the {whole:,} published "
                'steps; "scale": "paper" trains it to the end.'
            )
    if "mlp" in params.networks:
        told.append("In the paper the second network is a VGG on CIFAR-10; here it is an MLP.")
    return tuple(told)


def _proofs(params: Params, results: Results) -> tuple[Mapping[str, Any], ...]:
    """That every norm differs from none in the norm alone, on every seed."""
    found = []
    for setting in params.settings:
        first = {
            run.seed: factors.fingerprint(results.start(run))
            for run in results.of(setting.arm(REFERENCE))
        }
        for norm in NORMS:
            for run in results.of(setting.arm(norm)):
                if norm != REFERENCE and run.seed in first:
                    other = factors.fingerprint(results.start(run))
                    arms = setting.arm(REFERENCE), setting.arm(norm)
                    found.append(factors.compared(first[run.seed], other, arms))
        results.moved()
    return tuple(found)
