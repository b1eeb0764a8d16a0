"""What every part of a spec is made of: strict, frozen values and bounded plain text."""

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MAX_STEPS = 1_000_000_000
MAX_SEED = 2**63 - 1


def plain_text(text: str) -> str:
    """Refuse what a terminal, a log or a database would trip over: control, format, surrogates.

    Raises:
        ValueError: a character of Unicode category Cc, Cf, Cs, Zl or Zp is in the text.
    """
    bad = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    if any(unicodedata.category(character) in bad for character in text):
        raise ValueError("control, format and surrogate characters are not allowed")
    return text


Label = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(plain_text)]
LabelKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,63}$")]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Units = Annotated[int, Field(ge=1, le=65_536)]
Count = Annotated[int, Field(ge=1, le=MAX_STEPS)]


def at_most(count: int) -> BeforeValidator:
    """Refuse a longer list or object before any item of it is looked at.

    A body of a mebibyte holds 200,000 wrong items; naming each took over a second.
    """

    def refuse(value: Any) -> Any:
        if isinstance(value, list | tuple | dict) and len(value) > count:
            raise ValueError(f"at most {count} items are allowed, got {len(value)}")
        return value

    return BeforeValidator(refuse)


class Part(BaseModel):
    """A value object: strict, frozen, no unknown field, no number that is not finite."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )
