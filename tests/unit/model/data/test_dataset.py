import json

import numpy as np
import pytest

from model.data.dataset import Dataset, Facts, describe, load, save
from model.errors import DatasetInvalid

OLD_FINGERPRINT = "sha256:4a1231d5ec90fd2efecda500d645c4ef8e065b394ece359e8c146dc5a59a8165"


def rows(dtype: type = np.float32) -> Dataset:
    inputs = np.arange(12, dtype=dtype).reshape(4, 3)
    return describe(inputs, np.array([0, 1, 0, 1], np.int64), ("no", "yes"))


def test_facts_say_what_the_arrays_hold():
    facts = rows().facts
    assert (facts.rows, facts.input_shape, facts.outputs) == (4, (3,), 2)
    assert (facts.task, facts.classes) == ("classification", ("no", "yes"))
    assert (facts.train_rows, facts.test_rows, facts.images) == (None, None, False)


def test_facts_of_a_regression_have_outputs_and_no_classes():
    facts = describe(np.zeros((5, 2), np.float32), np.zeros((5, 3)), None, train_rows=4).facts
    assert (facts.task, facts.classes, facts.outputs) == ("regression", None, 3)
    assert (facts.train_rows, facts.test_rows) == (4, 1)


def test_facts_say_which_indices_the_rows_hold():
    assert rows().facts.indices == 12
    assert describe(np.full((2, 1), 0.5), np.zeros(2, np.int64), ("a", "b")).facts.indices == 0
    pixels = np.zeros((2, 1, 2, 2), np.uint8)
    assert describe(pixels, np.zeros((2, 1)), None, images=True).facts.indices is None


def test_facts_of_before_there_were_indices_are_read_and_the_fingerprint_is_theirs():
    written = rows().facts.to_json()
    del written["indices"]
    facts = Facts.from_json(written)
    assert facts.indices is None
    # As it was before indices were counted: they are no part of it.
    assert facts.fingerprint == OLD_FINGERPRINT


def test_facts_survive_json():
    for dataset in (rows(), describe(np.zeros((2, 1, 2, 2), np.uint8), np.zeros((2, 1)), None)):
        text = json.dumps(dataset.facts.to_json())
        assert Facts.from_json(json.loads(text)) == dataset.facts


@pytest.mark.parametrize(("train", "test"), [(3, None), (None, 3), (3, 2)])
def test_an_own_split_covers_every_row(train: int | None, test: int | None):
    with pytest.raises(ValueError, match=r"train_rows|rows in all"):
        Facts(4, (3,), ("a", "b"), 2, "classification", train, test, False, "sha256:")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_a_saved_dataset_is_mapped_back_equal_and_read_only(tmp_path, dtype):
    dataset = rows(dtype)
    save(dataset, tmp_path)
    loaded = load(tmp_path)
    assert isinstance(loaded.inputs, np.memmap)
    assert not loaded.inputs.flags.writeable
    assert loaded.inputs.dtype == dtype
    assert loaded.facts == dataset.facts
    np.testing.assert_array_equal(loaded.inputs, dataset.inputs)
    np.testing.assert_array_equal(loaded.targets, dataset.targets)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    save(rows(), tmp_path)
    np.save(tmp_path / "inputs.npy", np.zeros((4, 2), np.float32))
    with pytest.raises(DatasetInvalid, match=r"\(4, 2\)"):
        load(tmp_path)


def test_the_fingerprint_is_of_the_content_not_of_its_layout():
    one = rows()
    inputs = np.asfortranarray(one.inputs).astype(">f4")
    again = describe(inputs, one.targets.copy(), one.facts.classes)
    assert again.facts.fingerprint == one.facts.fingerprint
    assert one.facts.fingerprint.startswith("sha256:")
    assert len(one.facts.fingerprint) == len("sha256:") + 64


def changed_value(inputs, targets):
    inputs[2, 1] += 1
    return describe(inputs, targets, ("no", "yes"))


def changed_target(inputs, targets):
    targets[0] = 1
    return describe(inputs, targets, ("no", "yes"))


@pytest.mark.parametrize(
    "other",
    [
        changed_value,
        changed_target,
        lambda inputs, targets: describe(inputs, targets, ("no", "maybe")),
        lambda inputs, targets: describe(inputs.astype(np.float64), targets, ("no", "yes")),
        lambda inputs, targets: describe(inputs.reshape(4, 3, 1), targets, ("no", "yes")),
        lambda inputs, targets: describe(inputs, targets, ("no", "yes"), train_rows=3),
    ],
)
def test_the_fingerprint_tells_contents_apart(other):
    one = rows()
    changed = other(one.inputs.copy(), one.targets.copy())
    assert changed.facts.fingerprint != one.facts.fingerprint


def test_the_fingerprint_does_not_depend_on_the_blocks_it_is_read_in(monkeypatch):
    whole = rows().facts.fingerprint
    monkeypatch.setattr("model.data.dataset._HASH_BLOCK_BYTES", 12)
    assert rows().facts.fingerprint == whole
