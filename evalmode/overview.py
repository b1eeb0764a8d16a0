"""Lists every setting with its value; passwords are never shown."""

import re
from collections.abc import Iterator

from core.settings import Settings, described

_PASSWORD = re.compile(r"(?<=:)[^:/@]+(?=@)")


def settings_lines(settings: Settings) -> Iterator[str]:
    """Two lines a setting: its variable with value and default, and what it is."""
    fields = Settings.model_fields
    for (variable, default, description), name in zip(described(), fields, strict=True):
        value = shown(name, getattr(settings, name))
        yield f"{variable} = {value}  (default: {default})"
        yield f"    {description}"


def shown(name: str, value: object) -> str:
    """A value as it may be printed.

    Args:
        name: of the setting; what its own `repr` hides may hold secrets.
        value: what it is set to.
    """
    if Settings.model_fields[name].repr:
        return str(value)
    if isinstance(value, dict):
        return "{}" if not value else f"{{{', '.join(sorted(value))}: hidden}}"
    return _PASSWORD.sub("***", str(value))
