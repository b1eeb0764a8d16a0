"""Words and names in a figure."""


def legible(text: str, most: int = 200) -> str:
    """Text that the font has and XML can hold: printable ASCII, and a mark for all else.

    Args:
        most: characters; of a longer text the end is kept, which tells layers apart.
    """
    kept = "".join(one if one.isascii() and one.isprintable() else "\ufffd" for one in text)
    return kept if len(kept) <= most else "…" + kept[1 - most :]


def counted(count: int, of: str) -> str:
    """A number with its noun: 1 row, 1,437 rows."""
    return f"{count:,} {of}" if count == 1 else f"{count:,} {of}s"


def percent(share: float, digits: int = 0) -> str:
    """A share as the page writes it: 80 %."""
    return f"{100 * share:.{digits}f} %"
