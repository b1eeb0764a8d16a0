from core.settings import Settings
from evalmode.overview import settings_lines, shown


def test_every_setting_is_listed_with_its_description() -> None:
    lines = list(settings_lines(Settings()))
    variables = [text.split(" = ")[0] for text in lines[::2]]
    assert variables == [f"EVALMODE_{name.upper()}" for name in Settings.model_fields]
    assert all(text.strip() for text in lines[1::2])


def test_every_value_is_shown_beside_its_default() -> None:
    lines = list(settings_lines(Settings(tick_seconds=0.5)))
    assert all("  (default: " in text for text in lines[::2])
    assert "EVALMODE_TICK_SECONDS = 0.5  (default: 5)" in lines


def test_no_password_is_shown() -> None:
    assert shown("broker_url", "redis+socket://:s3cret@/x.sock") == "redis+socket://:***@/x.sock"
    assert shown("database_url", "postgresql://a:s3cret@h/x") == "postgresql://a:***@h/x"
    assert shown("files_options", {"secret": "s3cret", "key": "k"}) == "{key, secret: hidden}"
