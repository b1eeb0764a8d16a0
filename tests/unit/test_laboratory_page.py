"""The page about the laboratory has every experiment, and a figure of each."""

import re
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import pytest

from model.lab.catalogue import EXPERIMENTS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "laboratory.md").read_text()
MOST_BYTES = 150_000  # of a figure, which a reader of the page has to load
SECTIONS = dict(re.findall(r"^## `(\w+)`: .+?\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M))
PUBLISHED = sorted(
    kind
    for kind, one in EXPERIMENTS.items()
    if "paper" in get_args(one.params.model_fields["scale"].annotation)
)


def test_the_page_has_a_section_of_every_experiment_and_of_no_other() -> None:
    assert sorted(SECTIONS) == sorted(EXPERIMENTS)


@pytest.mark.parametrize("kind", sorted(EXPERIMENTS))
def test_a_section_tells_claim_setting_result_and_limits(kind: str) -> None:
    for part in ("**Claim.**", "**Settled by**", "**Shows.**", "**Cannot show**"):
        assert part in " ".join(SECTIONS[kind].split()), part


@pytest.mark.parametrize("kind", sorted(EXPERIMENTS))
def test_a_section_shows_a_figure_that_can_be_read(kind: str) -> None:
    (target,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", SECTIONS[kind])
    file = DOCS / target
    assert target == f"laboratory/{kind}.svg"
    assert file.stat().st_size <= MOST_BYTES
    assert ElementTree.parse(file).getroot().tag.endswith("svg")


@pytest.mark.parametrize("kind", sorted(EXPERIMENTS))
def test_the_table_of_results_has_a_line_of_every_experiment(kind: str) -> None:
    rows = re.findall(rf"^\| \[`{kind}`\]\(#([\w-]+)\) \|.*\|$", PAGE, re.M)
    heading = re.search(rf"^## (`{kind}`: .+)$", PAGE, re.M)
    assert heading is not None
    anchor = re.sub(r"[^\w -]", "", heading[1].lower()).replace(" ", "-")
    assert rows == [anchor]


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_published_setting_is_told(kind: str) -> None:
    scale = PAGE.split("## Scale")[1].split("\n## ")[0]
    assert f"| `{kind}` |" in scale
