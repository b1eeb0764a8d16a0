"""Every measure by its kind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model.measures import (
    covariate_shift,
    gradients,
    histograms,
    input_shift,
    landscape,
    moments,
    percentiles,
    relative_loss,
    saturation,
)
from model.measures.probe import Probe, Setting
from model.plan import Checked
from model.spec import Measure


@dataclass(frozen=True)
class Kind:
    """What a measure's file has."""

    passes: Callable[[Any, Checked], float]
    probe: Callable[[Any, Setting], Probe]
    compares: bool = False  # a network before and after a step, and not one as it stands
    all_rows: bool = False  # looks at training rows, and at all of them at the start and the end


CATALOGUE: dict[str, Kind] = {
    "saturation": Kind(saturation.passes, saturation.probe, all_rows=True),
    "input_shift": Kind(input_shift.passes, input_shift.probe, compares=True),
    "gradients": Kind(gradients.passes, gradients.probe, compares=True),
    "histograms": Kind(histograms.passes, histograms.probe),
    "percentiles": Kind(percentiles.passes, percentiles.probe, all_rows=True),
    "moments": Kind(moments.passes, moments.probe, all_rows=True),
    "covariate_shift": Kind(covariate_shift.passes, covariate_shift.probe, compares=True),
    "landscape": Kind(landscape.passes, landscape.probe),
    "relative_loss": Kind(relative_loss.passes, relative_loss.probe),
}


def passes_of(asked: Measure, checked: Checked) -> float:
    """Row-passes of one probe of a measure, by its own word: forward 1, forward and backward 3."""
    return CATALOGUE[asked.kind].passes(asked, checked)


def probe_of(asked: Measure, setting: Setting) -> Probe:
    """A measure's probe for one run."""
    return CATALOGUE[asked.kind].probe(asked, setting)
