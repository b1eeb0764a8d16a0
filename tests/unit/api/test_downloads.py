"""Ranges and entity tags, as RFC 9110 has them."""

import pytest

from api.downloads import Span, byte_range, is_known
from api.problems import Refusal


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=0-99", Span(0, 100)),
        ("bytes=10-19", Span(10, 10)),
        ("bytes=10-", Span(10, 90)),
        ("bytes=90-1000", Span(90, 10)),
        ("bytes=-10", Span(90, 10)),
        ("bytes=-1000", Span(0, 100)),
        (" bytes=5-5 ", Span(5, 1)),
    ],
)
def test_one_range_is_cut_to_the_file(header: str, span: Span) -> None:
    assert byte_range(header, 100) == span


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-2",
        "bytes=0-1,5-6",
        "lines=0-1",
        "bytes=0x1-2",
        "bytes=--5",
        "bytes=1-2-3",
        "bytes=" + "9" * 400 + "-",
    ],
)
def test_an_odd_range_is_ignored(header: str | None) -> None:
    assert byte_range(header, 100) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_behind_the_file_is_416_and_says_how_long_it_is(header: str) -> None:
    with pytest.raises(Refusal) as refused:
        byte_range(header, 100)
    assert refused.value.status_code == 416
    assert refused.value.headers == {"Content-Range": "bytes */100"}


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (None, False),
        ('"other"', False),
        ('"tag"', True),
        ('W/"tag"', True),
        ('"other", "tag"', True),
        ("*", True),
        ("tag", False),
    ],
)
def test_if_none_match_is_compared_weakly(header: str | None, known: bool) -> None:
    assert is_known(header, '"tag"') is known
