"""What a row, a charge and a note say once a user is taken out of them: another name stands there, amounts stay. Pure.

The name that stands there instead is chosen by whoever asks. Stores decide how it is written, and move the counters.
"""

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

NAMED = ("user", "principal")
SCOPES = {"user": "user", "key": "principal"}  # of a label -> the column that it tells


def renamed(label: str, user: str, instead: str) -> str:
    """A label such as `user:ann,provider:openai`, or a counter or note in which one stands, with another name."""
    scopes = "|".join(SCOPES)
    return re.sub(rf"(^|[|,])({scopes}):{re.escape(user)}(?=$|[|,])", rf"\g<1>\g<2>:{instead}", label)


def columns(row: Mapping[str, Any], user: str, instead: str) -> dict[str, str]:
    """The columns of a user's row that change. A unit of an experiment that was one is still one."""
    changed = {name: instead for name in NAMED if row.get(name) == user}
    if row.get("unit"):
        key = blake2b(instead.encode()).digest()
        changed["unit"] = blake2b(row["unit"].encode(), digest_size=8, key=key).hexdigest()
    return changed


def charge(kept: Mapping[str, Any], user: str, instead: str) -> dict[str, Any]:
    """A charge as its row keeps it, under the other name."""
    return {**kept, "counter": renamed(kept["counter"], user, instead), "scope": renamed(kept["scope"], user, instead)}


def note(text: str, user: str, instead: str) -> str:
    """The text of a note under the other name."""
    try:
        said = json.loads(text)
    except ValueError:
        return text
    if not isinstance(said, dict) or user not in (said.get(name) for name in NAMED):
        return text
    return json.dumps(said | {name: instead for name in NAMED if said.get(name) == user})
