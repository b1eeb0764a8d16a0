"""The datasets that are always there: three real ones and three made from formulas.

Real rows are read from the files that scikit-learn ships, without importing
`sklearn.datasets`, which costs more than a second.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from model.data.dataset import Dataset, describe
from model.data.inputs import narrowed

SEED = 2_147_483_647


def build(name: str) -> Dataset:
    """Make a built-in dataset, the same at every call.

    Raises:
        KeyError: no built-in dataset has this name.
    """
    return _BUILDERS[name]()


def _digits() -> Dataset:
    """1,797 handwritten digits of 8 x 8 pixels, 0 to 16, as 64 features (UCI, Alpaydin 1998)."""
    return _shipped("digits.csv.gz", tuple("0123456789"), header_lines=0)


def _breast_cancer() -> Dataset:
    """569 tumours, 30 features (Wisconsin diagnostic, Wolberg 1995)."""
    return _shipped("breast_cancer.csv", ("malignant", "benign"), header_lines=1)


def _wine() -> Dataset:
    """178 wines of three cultivars, 13 features (UCI, Forina 1991)."""
    return _shipped("wine_data.csv", ("class_0", "class_1", "class_2"), header_lines=1)


def _shipped(file: str, classes: tuple[str, ...], header_lines: int) -> Dataset:
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("scikit-learn, which ships the built-in datasets", name="sklearn")
    path = Path(package.origin).parent / "datasets" / "data" / file
    table = np.loadtxt(path, delimiter=",", skiprows=header_lines)
    return describe(narrowed(table[:, :-1]), table[:, -1].astype(np.int64), classes)


def _normals() -> np.random.RandomState:
    """The one numpy generator whose normal draws are promised never to change."""
    return np.random.RandomState(SEED)


def _two_class_500() -> Dataset:
    """10,000 rows of x ~ N(0, I_500); y = 1[w.x + 0.5 e > 0].

    One w ~ N(0, I) / sqrt(500), e ~ N(0, 1); drawn in the order w, x, e. The rows are float32,
    and y is computed from the rounded rows.
    """
    draw = _normals()
    w = draw.standard_normal(500) / np.sqrt(500)
    x = draw.standard_normal((10_000, 500)).astype(np.float32)
    e = draw.standard_normal(10_000)
    positive = x.astype(np.float64) @ w + 0.5 * e > 0
    return describe(x, positive.astype(np.int64), ("0", "1"))


def _gaussian_linear() -> Dataset:
    """1,000 rows of x ~ N(0, I_10), y = A x, A (10 x 10) ~ N(0, 1); every row trains.

    Drawn in the order A, x; all float64.
    """
    draw = _normals()
    A = draw.standard_normal((10, 10))
    x = draw.standard_normal((1_000, 10))
    return describe(x, _product(x, A), None, train_rows=1_000)


def _product(x: np.ndarray, A: np.ndarray) -> np.ndarray:
    """x A^T in one fixed order of additions, so that the bytes do not depend on a BLAS."""
    y = np.zeros((len(x), len(A)))
    for column in range(x.shape[1]):
        y += x[:, column, None] * A[:, column]
    return y


def _spirals() -> Dataset:
    """Three arms of 1,000 points in the plane, one class each, noise on the angle.

    Point i of arm k lies at radius r = (i + 1) / 1000 and angle 2 pi k / 3 + 4 r + 0.2 e,
    e ~ N(0, 1), at (r cos, r sin).
    """
    draw = _normals()
    r = np.tile(np.arange(1, 1_001) / 1_000, 3)
    arm = np.repeat(np.arange(3), 1_000)
    angle = 2 * np.pi * arm / 3 + 4 * r + 0.2 * draw.standard_normal(3_000)
    points = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)
    return describe(points.astype(np.float32), arm.astype(np.int64), ("0", "1", "2"))


_BUILDERS: dict[str, Callable[[], Dataset]] = {
    "digits": _digits,
    "breast_cancer": _breast_cancer,
    "wine": _wine,
    "two_class_500": _two_class_500,
    "gaussian_linear": _gaussian_linear,
    "spirals": _spirals,
}
BUILTIN = tuple(_BUILDERS)
