"""Telling pickles, which are never read, from other files."""

from pathlib import Path

_PICKLE = b"\x80"  # how every binary pickle begins, and numbers or text of no format do


def is_pickle(path: Path) -> bool:
    """Whether a file begins as pickles do, or as the zips of torch.save."""
    with path.open("rb") as file:
        head = file.read(256)
    # What torch.save writes is a zip whose first member is the pickle.
    return head.startswith(_PICKLE) or (head.startswith(b"PK") and b"data.pkl" in head)
