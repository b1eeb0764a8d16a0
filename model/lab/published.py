"""Published settings that need data which nobody ships."""

from model.data.builtin import BUILTIN
from model.errors import SpecRefused


def refuse_builtin(dataset: str, wanted: str) -> None:
    """Refuse a built-in dataset where the published setting has another one.

    Raises:
        SpecRefused: at `dataset`.
    """
    if dataset in BUILTIN:
        message = f"the published setting is of {wanted}: upload it and name it here, not {dataset}"
        raise SpecRefused("dataset", message)
