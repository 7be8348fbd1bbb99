"""What a line of the log never holds."""

import logging

from scribe_router.logs import Discreet

TOKEN = "sk-proj-a1B2c3D4e5F6g7H8i9J0k1"


def test_a_warning_and_its_traceback_lose_keys_and_tokens() -> None:
    def line(level: int, message: str, error: Exception | None = None) -> str:
        info = (type(error), error, None) if error else None
        return Discreet().format(logging.LogRecord("x", level, __file__, 1, message, None, info))

    assert line(logging.ERROR, f"no: {TOKEN}", ValueError(f"with {TOKEN}")) == "no: (a key)\nValueError: with (a key)"
    assert line(logging.INFO, TOKEN) == TOKEN


def test_a_terminal_obeys_nothing_of_it() -> None:
    said = "a\r\n12:00:00 forged\x1b[31m\x9b31m\u202e"
    error = ValueError(said)
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "%s", (said,), (ValueError, error, None))
    first, *rest = Discreet().format(record).split("\n")
    assert first == "a\\u000d\\u000a12:00:00 forged\\u001b[31m\\u009b31m\\u202e"
    assert rest[0] == "ValueError: a\\u000d"
    assert all(each.isprintable() for each in rest)
