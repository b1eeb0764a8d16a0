import pytest

from core.ids import is_id, new_id


def test_ids_ascend_as_they_are_made() -> None:
    ids = [new_id("run") for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert all(is_id("run", one) for one in ids)


ZEROS = "0" * 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "run",
        "run_",
        "run_x",
        f"ckpt_{ZEROS}",
        f"run_{ZEROS[1:]}",
        f"run_{ZEROS}0",
        f"run_{'A' * 32}",
        f"run_{ZEROS}\n",
        f" run_{ZEROS}",
        "run_" + "\u0660" * 32,  # digits, but not ours
    ],
)
def test_what_could_not_have_been_made_is_no_id(text: str) -> None:
    assert not is_id("run", text)
