"""How far gradients and inputs of layers shift in a step: numbers of runs, effects and tables."""

from math import isfinite, nan
from statistics import median

from model.figures.text import percent
from model.lab.compare import Of, last, paired
from model.lab.covariate_shift.arms import LAYERS, NORMS, TITLES, Params, arm_of, recipe
from model.lab.report import Cell, Table
from model.lab.results import Results, RunResult
from model.lab.typical import known, typical_angle, typical_size
from model.lab.verdict import Declared, Effect, judge

MARGIN = 1.25  # of ratios
MARGIN_COSINE = 0.05
NEARLY_SAME = 0.99  # of a cosine
EARLY = (0.01, 0.4)  # the share of steps in which the published cosine is near -1


def l2_name(layer: int) -> str:
    """The metric of the gradient's shift as a distance."""
    return f"covariate_shift.l2.{layer}"


def cosine_name(layer: int) -> str:
    """The metric of the gradient's shift as an angle."""
    return f"covariate_shift.cosine.{layer}"


def input_name(layer: int) -> str:
    """The metric of the input's shift, as a Wasserstein distance in SDs."""
    return f"input_shift.wasserstein.{layer}"


def declared_l2(network: str, layer: int) -> Declared:
    """The effect that the post's second benefit is judged by."""
    name = f"median |G - G'| of layer {layer} of the {TITLES[network]}: batch / none"
    return Declared(name, "", "ratio", "below", MARGIN)


def declared_early(network: str, layer: int) -> Declared:
    """The same while both arms are learning."""
    name = (
        f"median |G - G'| of layer {layer} of the {TITLES[network]} over the first "
        f"{percent(EARLY[1])} of steps: batch / none"
    )
    return Declared(name, "", "ratio", "below", MARGIN)


PRIMARY = declared_l2("deep_linear", LAYERS["deep_linear"][-1])


def primary(params: Params, results: Results) -> Effect:
    """The shift of the deepest gradient, of the deep linear network if there is one."""
    return _l2(params, results, params.networks[0])


def others(params: Params, results: Results) -> tuple[Effect, ...]:
    """Of every network: the gradient's shift early and as an angle, the input's, and the loss."""
    found = [_l2(params, results, network) for network in params.networks[1:]]
    for network in params.networks:
        found += [
            _early(params, results, network),
            _cosine(params, results, network),
            _input(params, results, network),
            _loss(results, network),
        ]
    return tuple(found)


def table(params: Params, results: Results) -> Table:
    """Every probed layer of every run."""
    rows = [
        _row(params, network, run, layer)
        for network in params.networks
        for layer in recipe(params, network).layers
        for norm in NORMS
        for run in results.of(arm_of(network, norm))
    ]
    columns = (
        *("network", "layer", "norm", "seed", "median |G - G'|", "median cosine"),
        f"share of cosines above {NEARLY_SAME:g}",
        f"median cosine, {percent(EARLY[0])} to {percent(EARLY[1])} of the steps",
        "median shift of the input, SDs",
    )
    note = "Over all probes that are finite. A cosine is empty where a gradient is 0."
    return Table("shift", "Shift of gradients and inputs by one step", columns, tuple(rows), note)


def loss_of(results: Results, network: str) -> Of:
    """The last training loss; a run that diverged stands for the largest that any had."""
    runs = [run for norm in NORMS for run in results.of(arm_of(network, norm))]
    losses = [value for run in runs for value in known(run, "train_loss") if isfinite(value)]
    return last("train_loss", max(losses, default=0.0), "at least")


def _l2(params: Params, results: Results, network: str) -> Effect:
    layer = recipe(params, network).layers[-1]
    return _judged(results, network, declared_l2(network, layer), typical_size(l2_name(layer)))


def _early(params: Params, results: Results, network: str) -> Effect:
    how = recipe(params, network)
    layer, steps = how.layers[-1], (0, round(EARLY[1] * how.steps))
    declared = declared_early(network, layer)
    return _judged(results, network, declared, typical_size(l2_name(layer), steps))


def _cosine(params: Params, results: Results, network: str) -> Effect:
    layer = recipe(params, network).layers[-1]
    name = f"median cosine of G and G' of layer {layer} of the {TITLES[network]}: batch - none"
    declared = Declared(name, "", "difference", "above", MARGIN_COSINE)
    return _judged(results, network, declared, typical_angle(cosine_name(layer)))


def _input(params: Params, results: Results, network: str) -> Effect:
    layer = recipe(params, network).layers[-1]
    name = f"median shift of the input of layer {layer} of the {TITLES[network]}: batch / none"
    declared = Declared(name, "", "ratio", "below", MARGIN)
    return _judged(results, network, declared, typical_size(input_name(layer)))


def _loss(results: Results, network: str) -> Effect:
    name = f"last training loss of the {TITLES[network]}: batch / none"
    declared = Declared(name, "", "ratio", "below", MARGIN)
    return _judged(results, network, declared, loss_of(results, network))


def _judged(results: Results, network: str, declared: Declared, of: Of) -> Effect:
    batch, none = arm_of(network, "batch"), arm_of(network, "none")
    return judge(declared, paired(results, declared, batch, none, of))


def _row(params: Params, network: str, run: RunResult, layer: int) -> tuple[Cell, ...]:
    steps = recipe(params, network).steps
    early = (round(EARLY[0] * steps), round(EARLY[1] * steps))
    cosines = _finite(run, cosine_name(layer))
    share = sum(one > NEARLY_SAME for one in cosines) / len(cosines) if cosines else nan
    return (
        *(network, layer, run.arm.rpartition(", ")[2], run.seed),
        _median(_finite(run, l2_name(layer))),
        _median(cosines),
        _or_none(share),
        _median(_finite(run, cosine_name(layer), early)),
        _median(_finite(run, input_name(layer))),
    )


def _finite(run: RunResult, name: str, steps: tuple[int, int] | None = None) -> list[float]:
    values = known(run, name) if steps is None else known(run, name, steps)
    return [value for value in values if isfinite(value)]


def _median(values: list[float]) -> float | None:
    return median(values) if values else None


def _or_none(value: float) -> float | None:
    return value if isfinite(value) else None
