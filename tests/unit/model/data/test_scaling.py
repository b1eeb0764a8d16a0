import json

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from model.data.scaling import Kind, Scaling

KINDS: tuple[Kind, ...] = ("standard", "minmax", "binary", "none")


def table(rows: int = 200) -> np.ndarray:
    draw = np.random.default_rng(0)
    return draw.standard_normal((rows, 4)) * [1, 1e3, 1e-6, 1e8] + [0, 1e6, 5, -3]


@pytest.mark.parametrize(
    ("kind", "reference"), [("standard", StandardScaler()), ("minmax", MinMaxScaler())]
)
def test_scaled_rows_equal_those_of_scikit_learn(kind, reference):
    train, later = table(), table(300)[200:]
    reference.fit(train)
    scaling = Scaling.fit(kind, train, False)
    for rows in (train, later):
        ours = scaling.apply(rows, dtype=np.float64)
        np.testing.assert_allclose(ours, reference.transform(rows), rtol=1e-9, atol=1e-9)


def test_standard_gives_mean_0_and_population_deviation_1():
    scaled = Scaling.fit("standard", table(), False).apply(table(), dtype=np.float64)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scaled.std(axis=0, ddof=0), 1, rtol=1e-12)


@pytest.mark.parametrize("kind", ["standard", "minmax"])
@pytest.mark.parametrize("value", [0.1, 0.0, -7.0, 1e30])
def test_a_constant_feature_becomes_0_and_its_scale_is_1(kind, value):
    train = np.full((1_000, 1), value)
    scaling = Scaling.fit(kind, train, False)
    assert scaling.scale.tolist() == [1.0]
    assert (scaling.apply(train, dtype=np.float64) == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_divided_by_255_whatever_the_kind(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 5), dtype=np.uint8)
    fractions = pixels.astype(np.float64) / 255
    axes = (0, 2, 3)
    low, high = fractions.min(axis=axes), fractions.max(axis=axes)
    middle = (low.min() + high.max()) / 2
    shift, scale = {
        "binary": (np.full(3, middle), np.ones(3)),
        "standard": (fractions.mean(axis=axes), fractions.std(axis=axes)),
        "minmax": (low, high - low),
        "none": (np.zeros(3), np.ones(3)),
    }[kind]
    scaling = Scaling.fit(kind, pixels, True)
    assert scaling.divisor == 255
    assert scaling.shift.shape == scaling.scale.shape == (3, 1, 1)
    np.testing.assert_allclose(scaling.shift.ravel(), shift, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(scaling.scale.ravel(), scale, rtol=1e-12)
    expected = (fractions - shift[:, None, None]) / scale[:, None, None]
    expected = np.where(expected > 0, 1, 0) if kind == "binary" else expected
    np.testing.assert_allclose(scaling.apply(pixels, np.float64), expected, atol=1e-12)
    np.testing.assert_allclose(scaling.apply(pixels), expected, atol=1e-5)


def test_a_black_channel_stays_0():
    pixels = np.zeros((5, 1, 2, 2), np.uint8)
    scaling = Scaling.fit("standard", pixels, True)
    assert scaling.scale.tolist() == [[[1.0]]]
    assert not scaling.apply(pixels).any()


def test_none_changes_nothing_but_the_type():
    values = table().astype(np.float32)
    np.testing.assert_array_equal(Scaling.fit("none", values, False).apply(values), values)
    np.testing.assert_array_equal(Scaling.fit("none", table(), False).apply(table(), "f8"), table())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", [np.float32, np.float64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_comes_out_the_same_alone_or_in_company(kind, source, dtype):
    rows = table(333).astype(source)
    scaling = Scaling.fit(kind, rows, False)
    together = scaling.apply(rows, dtype=dtype)
    assert together.dtype == dtype
    for index in (0, 1, 7, 332):
        alone = scaling.apply(rows[index : index + 1].copy(), dtype=dtype)
        np.testing.assert_array_equal(alone[0], together[index])
    reverse = scaling.apply(rows[::-1], dtype=dtype)[::-1]
    np.testing.assert_array_equal(reverse, together)


def test_blocks_of_rows_do_not_show(monkeypatch):
    rows = table()
    whole = Scaling.fit("standard", rows, False)
    monkeypatch.setattr("model.data.inputs._BLOCK_VALUES", 28)
    blockwise = Scaling.fit("standard", rows, False)
    np.testing.assert_allclose(blockwise.shift, whole.shift, rtol=1e-13)
    np.testing.assert_allclose(blockwise.scale, whole.scale, rtol=1e-13)
    np.testing.assert_array_equal(whole.apply(rows)[50:60], whole.apply(rows[50:60]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_is_1_above_the_one_middle_of_all_values(dtype):
    train, later = table(), table(300)[200:]
    scaling = Scaling.fit("binary", train, False)
    middle = (train.min() + train.max()) / 2
    for rows in (train, later):
        expected = (rows > middle).astype(dtype)
        np.testing.assert_array_equal(scaling.apply(rows, dtype), expected)
    assert 0 < scaling.apply(train).mean() < 1


def test_binary_pixels_are_compared_after_the_division_by_255():
    pixels = np.array([0, 100, 127, 128, 255], np.uint8).reshape(5, 1, 1, 1)
    scaling = Scaling.fit("binary", pixels, True)
    assert scaling.shift.tolist() == [[[0.5]]]
    assert scaling.apply(pixels).ravel().tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(("low", "high"), [(0, 254), (3, 17), (1, 255), (9, 9)])
def test_a_value_in_the_middle_is_0_whatever_the_rounding(low, high):
    middle = (low + high) // 2
    pixels = np.array([low, middle, middle + 1, high], np.uint8).reshape(4, 1, 1, 1)
    for images in (True, False):
        scaled = Scaling.fit("binary", pixels, images).apply(pixels).ravel().tolist()
        assert scaled == [0, 0, int(low < high), int(low < high)] or low == high
        assert low < high or not any(scaled[:2])


def test_json_keeps_every_bit():
    for kind in KINDS:
        scaling = Scaling.fit(kind, table(), False)
        again = Scaling.from_json(json.loads(json.dumps(scaling.to_json())))
        assert (again.kind, again.divisor) == (kind, scaling.divisor)
        assert again.shift.tobytes() == scaling.shift.tobytes()
        assert again.scale.tobytes() == scaling.scale.tobytes()
        assert again.shift.shape == scaling.shift.shape


def test_float64_input_is_scaled_before_it_is_rounded():
    rows = np.array([[1e9], [1e9 + 1], [1e9 + 2]])  # float32 cannot tell these apart
    scaled = Scaling.fit("minmax", rows, False).apply(rows, dtype=np.float32)
    assert scaled.ravel().tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_numbers_are_scaled_to_equal_bits_whatever_type_holds_them(kind, images, dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 3, 4, 5), dtype=np.uint8)
    scaling = Scaling.fit(kind, pixels, images)
    expected = scaling.apply(pixels, dtype)
    for source in (np.float32, np.float64, np.int64):
        assert scaling.apply(pixels.astype(source), dtype).tobytes() == expected.tobytes()


def test_the_rows_given_are_not_changed():
    rows = table()
    Scaling.fit("standard", rows, False).apply(rows, dtype=np.float64)
    np.testing.assert_array_equal(rows, table())


def test_no_rows_scale_to_no_rows():
    scaling = Scaling.fit("standard", table(), False)
    assert scaling.apply(np.zeros((0, 4), np.float32)).shape == (0, 4)
