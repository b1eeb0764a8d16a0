"""A report as one page that a person can mail: it needs no script and no network."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from model.pages.inline_svg import inline
from model.pages.look import CSS
from model.pages.markup import Html, element, escaped, joined
from model.pages.record import factor_items, pairs, repeat_steps, run_specs, runs_table
from model.pages.tables import report_table, table
from model.pages.verdict import effects_table, verdict_box
from model.pages.words import found

Told = Mapping[str, Any]
_LINK = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:)\]]")


def page(report: Told, figures: Mapping[str, bytes]) -> str:
    """An HTML document of a report.

    Args:
        report: as `model.lab.document` has it. One of several parts, as the page of the post
            is, has `sections` in the order in which they are read, each with `title`, `claim`,
            `verdict` (or null), `effect` (or null), `summary`, `figures` and `tables` (names) and
            `leaves_open`: a list of sentences, or one.
        figures: SVG files of `model.figures.draw_chart.svg` by name, best those without their
            words, which the page says itself. One that is missing is named and not shown.
    """
    drawn = _Drawn(report["figures"], figures)
    body = (
        *_head(report),
        *_sections(report, drawn),
        *_findings(report, drawn),
        *_record(report),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{report['kind']}: {report['claim']}"),
        element("style", Html(CSS)),
    )
    return "<!doctype html>\n" + element("html", head, element("body", *body), lang="en") + "\n"


class _Drawn:
    """Figures of a report, each on the page once, with ids of its own."""

    def __init__(self, told: Sequence[Told], files: Mapping[str, bytes]) -> None:
        self.told = {one["name"]: one for one in told}
        self.left = list(self.told)  # not on the page yet
        self._files = files

    def take(self, name: str) -> Html:
        """A figure with what it is evidence for and its notes."""
        self.left.remove(name)
        told, file = self.told[name], self._files.get(name)
        prefix = f"f{list(self.told).index(name) + 1}-"
        drawing = inline(file, prefix, told["title"]) if file else None
        missing = None if file else element("p", f"Figure {name} was not drawn.", class_="note")
        return element(
            "figure",
            element("h3", told["title"]),
            element("figcaption", told["evidence"]),
            element("div", drawing, class_="drawing") if drawing else missing,
            *(element("p", note, class_="note") for note in told["notes"]),
        )


def _head(report: Told) -> list[Html]:
    return [
        element("p", f"Experiment {report['kind']}", class_="kind"),
        element("h1", report["claim"]),
        element("p", "Claimed in: ", _linked(report["source"]), class_="source"),
        verdict_box(report["verdict"], report["effect"]),
        element("p", report["summary"]),
    ]


def _sections(report: Told, drawn: _Drawn) -> list[Html]:
    sections = report.get("sections") or ()
    if not sections:
        return []
    rows = [_overview(number, one) for number, one in enumerate(sections, 1)]
    overview = table(("", "part", "verdict", "effect", "found"), rows, (True, *[False] * 4))
    return [
        element("h2", "The claims, in their order"),
        overview,
        *(
            _section(number, one, drawn, _tables(report, one["tables"]))
            for number, one in enumerate(sections, 1)
        ),
    ]


def _tables(report: Told, names: Sequence[str]) -> list[Told]:
    return [one for one in report["tables"] if one["name"] in names]


def _overview(number: int, section: Told) -> list[str]:
    effect = section["effect"]
    name, told = (effect["name"], found(effect)) if effect else ("", section["summary"])
    return [str(number), section["title"], section["verdict"] or "", name, told]


def _section(number: int, section: Told, drawn: _Drawn, tables: Sequence[Told]) -> Html:
    known = [name for name in dict.fromkeys(section["figures"]) if name in drawn.left]
    judged = element(
        "div",
        element("p", element("strong", "Claim: "), section["claim"]),
        verdict_box(section["verdict"], section["effect"]) if section["verdict"] else None,
        element("p", section["summary"]),
    )
    aside = _leaves_open(section["leaves_open"])
    return element(
        "section",
        element("h2", f"{number}. {section['title']}"),
        element("div", judged, aside, class_="beside") if aside else judged,
        *map(drawn.take, known),
        *map(report_table, tables),
    )


def _leaves_open(said: str | Sequence[str]) -> Html | None:
    points = [said] if isinstance(said, str) else list(said)
    points = [point for point in points if point]
    if not points:
        return None
    items = element("ul", *(element("li", point) for point in points))
    heading = element("h3", "What the post leaves open or gets wrong")
    return element("aside", heading, items, class_="open")


def _findings(report: Told, drawn: _Drawn) -> list[Html]:
    shown = {name for one in report.get("sections") or () for name in one["tables"]}
    tables = [one for one in report["tables"] if one["name"] not in shown]
    return [
        *_part("Figures", map(drawn.take, list(drawn.left))),
        *_part("Tables", map(report_table, tables)),
        *_part("Other effects", [effects_table(report["others"])] if report["others"] else []),
        *_part("What it cannot show", [_list(report["caveats"])] if report["caveats"] else []),
    ]


def _record(report: Told) -> list[Html]:
    proof = [factor_items(report["factors"])] if report["factors"] else []
    asked = {**report["params"], "seeds": ", ".join(map(str, report["seeds"]))}
    runs = report["runs"]
    return [
        *_part("In what the arms differ", proof),
        *_part("Runs", [runs_table(runs), run_specs(runs)] if runs else []),
        *_part("Parameters", [pairs(asked)]),
        *_part("Made on", [pairs(report["environment"])]),
        *_part("How to repeat it", repeat_steps(report["repeat"])),
    ]


def _part(title: str, content: Iterable[Html]) -> list[Html]:
    """A heading with what is below it, or nothing."""
    inner = list(content)
    return [element("h2", title), *inner] if inner else []


def _list(items: Sequence[str]) -> Html:
    return element("ul", *(element("li", item) for item in items))


def _linked(source: str) -> Html:
    """Text with its addresses as links."""
    parts: list[Html] = []
    end = 0
    for link in _LINK.finditer(source):
        parts.append(escaped(source[end : link.start()]))
        address = link[0]
        parts.append(element("a", address, href=address, rel="noopener noreferrer"))
        end = link.end()
    return joined([*parts, escaped(source[end:])])
