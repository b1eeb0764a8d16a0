import pytest

from core.keys import checked, folder


@pytest.mark.parametrize("key", ["a", "runs/run_1/e2/step-10.resume.safetensors", "a=b/c.d/_"])
def test_plain_names_are_keys(key: str) -> None:
    assert checked(key) == key


@pytest.mark.parametrize("key", ["", ".", "..", "a/..", "a/./b", "/a", "a/", "a//b", "a\n"])
def test_what_could_lead_elsewhere_is_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="plain names"):
        checked(key)


def test_a_prefix_is_a_whole_folder() -> None:
    assert folder("runs/run_1") == folder("runs/run_1/") == "runs/run_1/"
    assert folder("") == ""
