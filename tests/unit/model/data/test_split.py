import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.dataset import Dataset, describe
from model.data.split import LEAST_CALIBRATION, Rows, Sizes, allocate, rows, split_sizes
from model.spec import Split


def classified(counts: list[int], train_rows: int | None = None, seed: int = 0) -> Dataset:
    targets = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(seed).shuffle(targets)
    classes = tuple(str(index) for index in range(len(counts)))
    inputs = np.zeros((len(targets), 1), np.float32)
    return describe(inputs, targets, classes, train_rows=train_rows)


def divide(dataset: Dataset, **fields: object) -> Rows:
    return rows(dataset.facts, dataset.targets, Split(**fields))


def parts_of(parts: Rows) -> tuple[np.ndarray, ...]:
    return parts.train, parts.validation, parts.test, parts.calibration


@st.composite
def divided(draw: st.DrawFn) -> tuple[list[int], int | None, Split]:
    counts = draw(st.lists(st.integers(1, 25), min_size=1, max_size=8))
    own = draw(st.none() | st.integers(1, sum(counts)))
    test = draw(st.floats(0, 0.999))
    validation = draw(st.floats(0, 0.999).filter(lambda share: share + test < 1))
    seed = draw(st.integers(0, 2**63 - 1))
    stratify = draw(st.booleans())
    return counts, own, Split(test=test, validation=validation, seed=seed, stratify=stratify)


@given(divided())
@settings(deadline=None, max_examples=300)
def test_sizes_are_known_without_targets_and_every_row_has_one_part(case):
    counts, own, split = case
    dataset = classified(counts, own)
    parts = parts_of(rows(dataset.facts, dataset.targets, split))
    assert Sizes(*(len(part) for part in parts)) == split_sizes(dataset.facts, split)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(sum(counts)))
    for part in parts:
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()


@given(divided())
@settings(deadline=None, max_examples=300)
def test_a_stratified_part_has_each_class_share_to_within_a_row(case):
    counts, _, split = case
    dataset = classified(counts)
    split = split.model_copy(update={"stratify": True})
    for part in parts_of(rows(dataset.facts, dataset.targets, split)):
        found = np.bincount(dataset.targets[part], minlength=len(counts))
        quota = np.array(counts) * len(part) / sum(counts)
        assert (np.abs(found - quota) <= 1).all()


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=30),
    st.lists(st.floats(0, 1), min_size=2, max_size=2),
)
@settings(deadline=None, max_examples=300)
def test_shares_have_exact_margins_and_are_quotas_rounded_down_or_one_more(counts, cuts):
    everything = sum(counts)
    low, high = sorted(int(cut * everything) for cut in cuts)
    totals = (low, high - low, everything - high)
    shares = allocate(counts, totals)
    np.testing.assert_array_equal(shares.sum(axis=0), totals)
    np.testing.assert_array_equal(shares.sum(axis=1), counts)
    floors = [[count * total // max(1, everything) for total in totals] for count in counts]
    assert np.isin(shares - np.array(floors), (0, 1)).all()


@pytest.mark.parametrize(
    ("count", "test", "validation", "sizes"),
    [
        (1797, 0.2, 0.0, (1438, 0, 359)),
        (569, 0.2, 0.1, (398, 57, 114)),
        (10, 0.25, 0.0, (7, 0, 3)),  # 2.5 is rounded up
        (10, 0.0, 0.0, (10, 0, 0)),
        (10, 0.0, 0.3, (7, 3, 0)),
        (3, 0.1, 0.1, (3, 0, 0)),
        (1, 0.5, 0.4, (0, 0, 1)),
    ],
)
def test_fractions_are_of_all_rows_rounded_half_up(count, test, validation, sizes):
    facts = classified([count]).facts
    assert split_sizes(facts, Split(test=test, validation=validation)) == Sizes(*sizes, 0)


def test_the_own_test_rows_win_and_validation_comes_from_the_own_training_rows():
    dataset = classified([60, 40], train_rows=80)
    parts = divide(dataset, test=0.5, validation=0.25)
    np.testing.assert_array_equal(parts.test, np.arange(80, 100))
    assert (len(parts.train), len(parts.validation)) == (60, 20)
    assert parts.train.max() < 80
    assert parts.validation.max() < 80


def test_a_dataset_whose_every_row_trains_has_no_test_rows():
    parts = divide(classified([50], train_rows=50), test=0.2)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (50, 0, 0)


@pytest.mark.parametrize(
    ("train", "share", "calibration"),
    [(2560, 0.1, 256), (2554, 0.1, 0), (8000, 0.1, 800), (1000, 0.5, 500), (8000, 0.0, 0)],
)
def test_a_share_of_the_training_rows_calibrates_where_it_is_enough(train, share, calibration):
    facts = classified([train], train_rows=train).facts
    sizes = split_sizes(facts, Split(calibration=share))
    assert sizes == Sizes(train - calibration, 0, 0, calibration)
    assert sizes.calibration == 0 or sizes.calibration >= LEAST_CALIBRATION


@pytest.mark.parametrize("own", [None, 3800])
def test_what_calibrates_is_taken_from_what_trains_and_from_nothing_else(own):
    dataset = classified([1500, 2500], train_rows=own)
    none, some = (divide(dataset, validation=0.1, calibration=share) for share in (0.0, 0.1))
    np.testing.assert_array_equal(none.test, some.test)
    np.testing.assert_array_equal(none.validation, some.validation)
    together = np.sort(np.concatenate([some.train, some.calibration]))
    np.testing.assert_array_equal(together, none.train)
    share = np.bincount(dataset.targets[some.calibration]) / len(some.calibration)
    np.testing.assert_allclose(share, [0.375, 0.625], atol=0.01)


def test_a_seed_always_gives_the_same_rows_and_another_gives_others():
    dataset = classified([30, 30, 40])
    first, again = divide(dataset, seed=3), divide(dataset, seed=3)
    np.testing.assert_array_equal(first.test, again.test)
    assert not np.array_equal(first.test, divide(dataset, seed=4).test)


def test_the_rows_of_a_seed_are_these_on_every_machine_and_numpy():
    parts = divide(classified([20]), seed=0, stratify=False, validation=0.1)
    assert parts.test.tolist() == [5, 9, 12, 16]
    assert parts.validation.tolist() == [4, 10]


def test_without_stratification_the_targets_do_not_matter():
    one, other = classified([50, 50], seed=1), classified([50, 50], seed=2)
    np.testing.assert_array_equal(
        divide(one, stratify=False).test, divide(other, stratify=False).test
    )


def test_a_regression_is_divided_without_its_targets():
    inputs = np.zeros((40, 2), np.float32)
    dataset = describe(inputs, np.random.default_rng(0).standard_normal((40, 2)), None)
    parts = divide(dataset, test=0.25)
    assert (len(parts.train), len(parts.test)) == (30, 10)


def test_rows_of_both_parts_are_spread_over_the_file():
    parts = divide(classified([10_000]), test=0.3, stratify=False)
    # The mean place of 3,000 random rows of 10,000: sd of 10,000 / sqrt(12 * 3,000) * sqrt(.7).
    assert abs(parts.test.mean() - 4_999.5) < 5 * 10_000 / np.sqrt(12 * 3_000)
