"""JSON as bytes: text stays UTF-8, and a lone surrogate stays the escape that it came as. And text as one tame line."""

import json
import re
from typing import Any

# What a terminal obeys in place of showing it: C0 and C1, and what turns lines or breaks them.
_WILD = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def json_bytes(payload: Any) -> bytes:
    """`payload` as compact JSON."""
    try:
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(payload, separators=(",", ":")).encode()


def json_line(payload: Any) -> bytes:
    """The same as one line that a terminal may show, its end included."""
    text = json_bytes(payload).decode()
    return tame(text).encode() + b"\n"


def tame(text: str) -> str:
    """Text with escapes, as JSON has them, for all that a terminal would obey."""
    return _WILD.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
