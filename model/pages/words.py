"""What an effect is, in sentences; effects are as `model.lab.report.effect_json` has them."""

from collections.abc import Mapping
from typing import Any

from model.figures.scales import number_text
from model.figures.text import counted

Effect = Mapping[str, Any]

VERDICTS = {
    "supports": "The runs support the claim.",
    "contradicts": "The runs contradict the claim.",
    "inconclusive": "The runs do not settle the claim.",
}


def found(effect: Effect) -> str:
    """The effect with its interval and the number of seeds."""
    n = effect["n"]
    if effect["value"] is None:
        return "No seed gave a number."
    value = f"{number_text(effect['value'])} {effect['unit']}".strip()
    if effect["ci_low"] is None or effect["ci_high"] is None:
        return f"{value} in {counted(n, 'seed')}, too few for an interval."
    low, high = number_text(effect["ci_low"]), number_text(effect["ci_high"])
    mean = "geometric mean" if effect["scale"] == "ratio" else "mean"
    return f"{value}, 95\u00a0% interval from {low} to {high}, {mean} of {counted(n, 'seed')}."


def claimed(effect: Effect) -> str:
    """What the claim needs, as it was stated before the runs."""
    side, at = effect["claimed"], number_text(threshold(effect))
    low, high = map(number_text, no_effect(effect))
    needs = f"Stated before the runs: the claim needs the whole interval {side} {at}."
    if low == high:
        return needs
    return f"{needs} From {low} to {high} counts as no effect."


def why(effect: Effect) -> str:
    """Why the verdict is what it is."""
    if effect["ci_low"] is None or effect["ci_high"] is None:
        return "Without an interval there is no verdict."
    low, high = no_effect(effect)
    if effect["verdict"] == "supports":
        return "All of the interval is on the claimed side."
    if effect["verdict"] == "contradicts":
        is_within = low <= effect["ci_low"] and effect["ci_high"] <= high
        return (
            "All of the interval is within what counts as no effect."
            if is_within
            else "All of the interval is on the side opposite to the claim."
        )
    crossed = [line for line in (low, high) if effect["ci_low"] <= line <= effect["ci_high"]]
    if not crossed and any(one.get("bound") for one in effect["seeds"]):
        return "Of a seed there is only a bound, and what is true may lie across the line."
    return "The interval reaches across the line that the claim is judged by."


def threshold(effect: Effect) -> float:
    """Where the claimed side begins."""
    low, high = no_effect(effect)
    return high if effect["claimed"] == "above" else low


def no_effect(effect: Effect) -> tuple[float, float]:
    """Between which numbers an effect counts as none."""
    margin = float(effect["margin"])
    return (1 / margin, margin) if effect["scale"] == "ratio" else (-margin, margin)
