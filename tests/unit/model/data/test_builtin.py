import subprocess
import sys

import numpy as np
import pytest
import sklearn.datasets

from model.data.builtin import BUILTIN, build
from model.data.split import rows
from model.spec import Split


def test_there_are_six():
    assert BUILTIN == (
        "digits",
        "breast_cancer",
        "wine",
        "two_class_500",
        "gaussian_linear",
        "spirals",
    )


@pytest.mark.parametrize("name", BUILTIN)
def test_a_built_in_dataset_is_the_same_at_every_call(name):
    first, again = build(name), build(name)
    assert first.facts == again.facts
    assert first.facts.rows == len(first.inputs) == len(first.targets)
    assert np.isfinite(first.inputs).all()


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("digits", sklearn.datasets.load_digits),
        ("breast_cancer", sklearn.datasets.load_breast_cancer),
        ("wine", sklearn.datasets.load_wine),
    ],
)
def test_real_rows_equal_those_that_scikit_learn_loads(name, reference):
    dataset, expected = build(name), reference()
    np.testing.assert_array_equal(dataset.inputs, expected.data)
    np.testing.assert_array_equal(dataset.targets, expected.target)
    assert dataset.facts.classes == tuple(str(label) for label in expected.target_names)
    assert dataset.targets.dtype == np.int64


def test_digits_are_64_small_numbers_in_float32():
    dataset = build("digits")
    assert dataset.inputs.dtype == np.float32
    assert (dataset.facts.rows, dataset.facts.input_shape) == (1_797, (64,))
    assert (dataset.inputs.min(), dataset.inputs.max()) == (0, 16)
    assert not dataset.facts.images


def test_measurements_that_float32_would_round_stay_float64():
    assert build("breast_cancer").inputs.dtype == np.float64


def test_two_class_500_follows_its_formula():
    dataset = build("two_class_500")
    x, y = dataset.inputs, dataset.targets
    assert x.shape == (10_000, 500)
    assert dataset.facts.classes == ("0", "1")
    # 5 million draws: the mean has sd 4.5e-4, the variance 6.3e-4.
    assert abs(x.mean(dtype=np.float64)) < 5 * 4.5e-4
    assert abs(x.var(dtype=np.float64) - 1) < 5 * 6.3e-4
    assert abs(y.mean() - 0.5) < 5 * 0.005
    # E[x y'] = 2 phi(0) w / sd with y' = +-1 and sd^2 = |w|^2 + 1/4, |w|^2 within 6.3 % of 1.
    slope = (x * (2 * y - 1)[:, None]).mean(axis=0, dtype=np.float64)
    signal = (slope**2).sum() - 500 / 10_000  # less the variance of 500 means of 10,000
    assert signal == pytest.approx(2 / np.pi / 1.25, rel=0.15)
    # The best rule errs with probability arctan(1 / 2) / pi.
    direction = slope / np.linalg.norm(slope)
    errors = ((x @ direction > 0) != (y == 1)).mean()
    assert abs(errors - np.arctan(0.5) / np.pi) < 0.05


def test_gaussian_linear_is_an_exact_linear_map_and_every_row_trains():
    dataset = build("gaussian_linear")
    x, y = dataset.inputs, dataset.targets
    assert (x.shape, y.shape) == ((1_000, 10), (1_000, 10))
    assert x.dtype == y.dtype == np.float64
    assert (dataset.facts.task, dataset.facts.outputs) == ("regression", 10)
    matrix = np.linalg.lstsq(x, y, rcond=None)[0].T
    np.testing.assert_allclose(x @ matrix.T, y, atol=1e-12)
    assert abs(matrix.mean()) < 5 * 0.1  # sd of the mean of 100 draws
    assert abs(matrix.var() - 1) < 5 * np.sqrt(2 / 100)
    assert abs(x.mean()) < 5 * 0.01
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / 10_000)
    parts = rows(dataset.facts, y, Split())
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (1_000, 0, 0)


def test_spirals_are_three_noisy_arms_of_equal_length():
    dataset = build("spirals")
    assert np.bincount(dataset.targets).tolist() == [1_000] * 3
    x = dataset.inputs.astype(np.float64)
    radius = np.tile(np.arange(1, 1_001) / 1_000, 3)
    np.testing.assert_allclose(np.hypot(*x.T), radius, rtol=1e-6)
    ideal = 2 * np.pi * dataset.targets / 3 + 4 * radius
    noise = np.angle(np.exp(1j * (np.arctan2(x[:, 1], x[:, 0]) - ideal)))
    assert abs(noise.mean()) < 5 * 0.2 / np.sqrt(3_000)
    assert noise.std() == pytest.approx(0.2, rel=5 / np.sqrt(2 * 3_000))


def test_building_imports_neither_sklearn_nor_torch():
    code = (
        "import sys; from model.data.builtin import build; build('digits');"
        "print(sorted({'sklearn', 'torch', 'pyarrow', 'PIL'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_an_unknown_name_is_a_key_error():
    with pytest.raises(KeyError):
        build("mnist")
