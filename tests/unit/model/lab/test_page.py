"""The page of a report, read back as HTML."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import pytest

from model.figures.charts import Curve, Curves, Figure
from model.figures.draw_chart import svg
from model.lab.document import Environment, TrainedRun, document
from model.lab.experiment import Experiment, Params
from model.lab.page import page
from model.lab.report import Report, Table, effect_json
from model.lab.results import RunResult
from model.lab.verdict import Declared, OfSeed, judge
from model.spec import RunSpec

DECLARED = Declared("steps to 85 %: batch / none", "", "ratio", "below", 3.0)
EFFECT = judge(DECLARED, [OfSeed(0, 0.2), OfSeed(1, 0.25, "bound"), OfSeed(2, 0.22)])
OTHER = judge(Declared("gap", "points", "difference", "above", 1.0), [OfSeed(0, 0.5)])
CURVE = Curve("batch", [0, 1], [0.1, 0.9], "batch")
FIGURES = tuple(
    Figure(name, f"Title of {name}", f"Evidence of {name}.", (Curves("p", "x", "y", (CURVE,)),))
    for name in ("accuracy", "loss")
)
TABLE = Table("steps", "Steps by arm", ("arm", "steps"), (("batch", 120), ("none", None)), "Bound.")
SPEC = RunSpec.model_validate({"dataset": "digits", "network": {"kind": "mlp", "hidden": [8]}})
FACTOR = {
    "seed": 0,
    "arms": ["none", "batch"],
    "differ_in": ["norm"],
    "same_order": True,
    "order_sha256": ["abcdef0123456789", "abcdef0123456789"],
    "same_start": True,
    "shared_tensors": 4,
    "different_tensors": [],
    "tensors_of_one": ["0.bias"],
    "norm_parameters": [[], ["1.weight"]],
}
HOSTILE = "</title></style></svg>--><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
VOID = {"meta", "br", "col", "img", "link", "input", "hr"}


@dataclass
class Read(HTMLParser):
    """A page's elements and words; an element that is not closed in its turn is an error."""

    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.words.append(data)

    def of(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def read(html: str) -> Read:
    parser = Read()
    parser.feed(html)
    parser.close()
    assert parser._open == []
    assert html.startswith("<!doctype html>\n<html")
    return parser


def told(claim: str = "Batch norm needs a third of the steps.", **fields: Any) -> dict[str, Any]:
    source = "Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167."
    experiment = Experiment(
        "ioffe_mnist", claim, source, Params, DECLARED, 60, lambda *_: (), lambda *_: REPORT
    )
    runs = [
        TrainedRun(
            f"run_{arm}",
            100,
            "cpu",
            RunResult(arm, 0, SPEC, state, outcome, why, 90, "", {}, {}, ()),  # type: ignore[arg-type]
        )
        for arm, state, outcome, why in (
            ("batch", "succeeded", "completed", None),
            ("none", "failed", None, "lost 5 times"),
        )
    ]
    asked = (experiment, Params(), (0, 1, 2))
    place = Environment("a cpu", "2.13.0+cpu", 1)
    return document("exp_1", asked, runs, REPORT, place) | fields


REPORT = Report(
    EFFECT, "It needed 0.22 times the steps.", (TABLE,), FIGURES, ("Small.",), (FACTOR,), (OTHER,)
)
FILES = {of.name: svg(of, with_words=False) for of in FIGURES}


def test_a_page_is_well_formed_and_says_everything() -> None:
    found = read(page(told(), FILES))

    for said in (
        "Batch norm needs a third of the steps.",
        "Ioffe and Szegedy 2015",
        "The runs support the claim.",
        "steps to 85 %: batch / none",
        f"95 % interval from {EFFECT.ci_low:.4g} to {EFFECT.ci_high:.4g}",
        "geometric mean of 3 seeds",
        "It needed 0.22 times the steps.",
        "Title of accuracy",
        "Evidence of loss.",
        "Steps by arm",
        "Bound.",
        "gap",
        "Small.",
        "none and batch differ in norm",
        "Sha256 of the order: abcdef012345",
        "all 4 initial tensors that both have are equal",
        "one network alone has 0.bias",
        "lost 5 times",
        "Full specs of 2 runs",
        '"dataset": "digits"',
        "a cpu",
        "2.13.0+cpu",
        "evalmode lab run ioffe_mnist --seeds 0,1,2",
        "curl -X POST",
    ):
        assert said in found.text.replace("\u00a0", " "), said


def test_a_page_needs_no_network_and_no_script() -> None:
    html = page(told(), FILES)
    found = read(html)

    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(found.tags)
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    links = [(tag, value) for tag, name, value in found.attributes if name in ("href", "src")]
    assert ("a", "https://arxiv.org/abs/1502.03167") in links
    others = [value for tag, value in links if tag != "a"]
    others += found.of("xlink:href")
    assert others
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in others)
    assert html.count("http") == 2  # the link, and its words
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_ids_are_unique_and_lead_somewhere() -> None:
    html = page(told(), FILES)
    ids = read(html).of("id")

    assert len(set(ids)) == len(ids) > 20
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(ids)
    assert {one.removeprefix("#") for one in read(html).of("xlink:href") if one[0] == "#"} <= set(
        ids
    )


def replaced(value: Any) -> Any:
    """Every text of a document made hostile, but for what means something to the page."""
    if isinstance(value, dict):
        kept = {"verdict", "scale", "claimed", "name", "source"}
        return {key: of if key in kept else replaced(of) for key, of in value.items()}
    if isinstance(value, list):
        return [replaced(one) for one in value]
    return HOSTILE if isinstance(value, str) else value


def test_no_text_becomes_a_part_of_the_page() -> None:
    plain = told()
    hostile = replaced(plain)

    found = read(page(hostile, FILES))

    assert sorted(set(found.tags)) == sorted(set(read(page(plain, FILES)).tags))
    assert found.text.count("<script>alert(1)</script>") > 20
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]


def test_keys_and_names_are_escaped_as_well() -> None:
    named = told(params={HOSTILE: HOSTILE}, environment={HOSTILE: 1})
    named["effect"]["name"] = HOSTILE
    named["figures"][0]["name"] = HOSTILE

    found = read(page(named, FILES))

    assert "script" not in found.tags
    assert f"Figure {HOSTILE} was not drawn." in found.text


@pytest.mark.parametrize(
    ("source", "links"),
    [
        ("see https://a.org/x?a=1&b=2.", ["https://a.org/x?a=1&b=2"]),
        ("(http://a.org/b), https://c.org", ["http://a.org/b", "https://c.org"]),
        ("javascript:alert(1) data:text/html,x", []),
        ('https://a.org/"onclick="x', ["https://a.org/"]),
        ("none", []),
    ],
)
def test_addresses_of_the_source_are_links_and_nothing_else_is(
    source: str, links: list[str]
) -> None:
    found = read(page(told(source=source), FILES))

    assert [value for tag, name, value in found.attributes if (tag, name) == ("a", "href")] == links
    assert source in found.text


def test_what_a_report_does_not_have_has_no_heading() -> None:
    bare = told(others=[], tables=[], figures=[], caveats=[], factors=[], runs=[])

    text = read(page(bare, {})).text

    for heading in ("Figures", "Tables", "Other effects", "What it cannot show", "Runs"):
        assert heading not in text
    assert "How to repeat it" in text


def test_seeds_in_which_two_arms_differ_alike_are_one_line() -> None:
    others = [FACTOR | {"seed": seed, "order_sha256": [f"{seed}" * 16] * 2} for seed in (1, 2)]
    apart = FACTOR | {"seed": 3, "same_start": False, "different_tensors": [["0.weight"] * 2]}
    found = read(page(told(factors=[FACTOR, *others, apart]), FILES)).text
    assert found.count("none and batch differ in norm") == 2
    alike = found.partition("Seeds 0, 1, 2: ")[2].partition("Seed 3: ")[0]
    assert "all 4 initial tensors that both have are equal" in alike
    assert "abcdef012345…, 111111111111…, 222222222222…" in alike


@pytest.mark.parametrize(("count", "folds"), [(12, 0), (13, 1)])
def test_many_runs_are_folded_away_under_how_they_ended(count: int, folds: int) -> None:
    one = told()["runs"][0]
    runs = [one | {"seed": seed} for seed in range(count)]
    runs[0] |= {"outcome": "diverged"}
    before, _, after = page(told(runs=runs), FILES).partition("<h2>Runs</h2>")
    assert "<details>" not in before
    summary = f"<details><summary>{count} runs: 1 diverged, {count - 1} completed</summary><div"
    assert after.count(summary) == folds


@pytest.mark.parametrize("seeds", [(), (OfSeed(0, None, "diverged"),), (OfSeed(0, 0.5),)])
def test_an_effect_without_interval_is_told_as_such(seeds: tuple[OfSeed, ...]) -> None:
    effect = effect_json(judge(DECLARED, seeds))

    text = read(page(told(effect=effect, verdict=effect["verdict"]), FILES)).text

    assert "The runs do not settle the claim." in text
    assert "Without an interval there is no verdict." in text
    assert all(one.note in text for one in seeds)


def section(title: str, **fields: Any) -> dict[str, Any]:
    return {
        "title": title,
        "claim": f"Claim of {title}.",
        "verdict": "supports",
        "effect": effect_json(EFFECT),
        "summary": f"Summary of {title}.",
        "figures": [],
        "tables": [],
        "leaves_open": [],
    } | fields


def test_a_post_is_told_in_its_order_with_what_it_leaves_open() -> None:
    sections = [
        section("dead units", figures=["loss"], leaves_open=["Saturated is not dead."]),
        section("update order", effect=None, verdict="contradicts", leaves_open="One question."),
        section("unfinished", effect=None, verdict=None, tables=[TABLE.name]),
    ]

    found = read(page(told(kind="seed_post", sections=sections), FILES))

    parts = [
        *("1. dead units", "Claim of dead units.", "Saturated is not dead.", "Title of loss"),
        *("2. update order", "The runs contradict the claim.", "One question."),
        *("3. unfinished", "Summary of unfinished.", "Steps by arm", "Title of accuracy"),
    ]
    text = found.text[found.text.index(parts[0]) :]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert found.text.count("Title of loss") == 1  # the other figure is at the end
    assert found.text.count("Steps by arm") == 1
    assert found.text.count("What the post leaves open or gets wrong") == 2


def test_a_figure_of_two_sections_is_drawn_once() -> None:
    sections = [section(name, figures=["loss", "loss"]) for name in ("one", "two")]

    html = page(told(sections=sections), FILES)

    assert read(html).text.count("Title of loss") == 1
    ids = read(html).of("id")
    assert len(set(ids)) == len(ids)


def test_equal_reports_give_equal_pages() -> None:
    assert page(told(), FILES) == page(told(), dict(FILES))
