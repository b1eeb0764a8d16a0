"""What the experiment on the loss landscape answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from model.lab import factors
from model.lab.arms import ended_early, sentence
from model.lab.landscape import constants, figures, surfaces, widths
from model.lab.landscape.arms import Params
from model.lab.landscape.look import Look, look_at
from model.lab.report import Report
from model.lab.results import Results
from model.lab.verdict import Effect

DIVERGED_IS = "counted as the largest that was seen of everything judged; its end is not looked at"


def report(params: Params, results: Results) -> Report:
    """Is the loss smoother along the gradient with batch norm?"""
    effect, others = widths.primary(params, results), widths.others(params, results)
    looks = look_at(results)
    found = constants.estimate(params, looks)
    around = surfaces.look_around(params, results, looks)
    proven = _proofs(results)
    return Report(
        effect=effect,
        summary=_summary(effect, others),
        tables=(
            widths.table(params, results),
            *([constants.table(found)] if found else []),
            *([surfaces.table(around)] if around.lines else []),
        ),
        figures=(*figures.draw(params, results), *surfaces.figures(around)),
        caveats=(
            *_caveats(params, looks),
            *_late(others[-1]),
            *constants.caveat(found),
            *ended_early(results, DIVERGED_IS),
            *factors.caveats(proven),
        ),
        factors=proven,
        others=others,
    )


def _summary(effect: Effect, others: Sequence[Effect]) -> str:
    answers = {
        "supports": "Along the gradient the loss varies less with batch norm.",
        "contradicts": "Along the gradient the loss does not vary less with batch norm.",
        "inconclusive": "Whether the loss varies less along the gradient is left open.",
    }
    return " ".join([answers[effect.verdict], *map(sentence, (effect, *others[:2]))])


def _caveats(params: Params, looks: Sequence[Look]) -> tuple[str, ...]:
    shortest = params.low * params.lr
    told = [
        f"Effective beta has a floor near 1 / (shortest step) = {1 / shortest:.3g}: once so short "
        "a step nearly ends the gradient, the ratio is |g| / (alpha |g|). Only arms with equal "
        "step lengths may be compared; beta at a step of lr is told beside it.",
        "Early in training the mean of beta may be larger with batch norm, in the published figure "
        "too: what is judged are the largest values.",
        "No weight decay is in the loss, so that the band goes to 0 as rows are learned; in the "
        "published figure it ends near .65 at full training accuracy, which is a penalty.",
        "A smoother loss along the gradient is seen beside faster training. It does not prove that "
        "the one causes the other.",
    ]
    if params.scale == "default":
        told.append(
            "A small network on small images for about a thousand steps, not VGG-16 on "
            "CIFAR-10 for 15,000."
        )
    if looks:
        rows = len(looks[0].start.block.inputs)
        told.append(
            f"Constants, lines and surfaces are of the loss on {rows:,} training rows at once, in "
            "float32. Held statistics are those of the network in the middle alone: further away "
            "eval mode normalizes by what no longer fits."
        )
    else:
        told.append(
            "Constants, lines and surfaces are left out: on one core they would take too long."
        )
    return tuple(told)


def _late(effect: Effect) -> tuple[str, ...]:
    """That the order turns around after the steps that are judged, where it does."""
    if effect.value is None or effect.value >= 1:
        return ()
    return (
        f"Over the rest of the steps it is the other way round: {sentence(effect)} A network that "
        "has learned its rows has no gradient left, along which a loss could vary; the first to "
        "get there looks the smoothest.",
    )


def _proofs(results: Results) -> tuple[Mapping[str, Any], ...]:
    found = []
    for pair in results.pairs("none", "batch"):
        prints = [factors.fingerprint(results.start(run)) for run in pair]
        found.append(factors.compared(prints[0], prints[1], ("none", "batch")))
        results.moved()
    return tuple(found)
