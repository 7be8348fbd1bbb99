"""JSON as bytes: text stays UTF-8, and a lone surrogate stays the escape that it came as."""

import json
from typing import Any


def json_bytes(payload: Any) -> bytes:
    """`payload` as compact JSON."""
    try:
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(payload, separators=(",", ":")).encode()
