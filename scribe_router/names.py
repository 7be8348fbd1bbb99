"""What a person probably meant by a name, which names a pattern stands for, and which tell of a secret. Knows spelling,
no meaning."""

import difflib
import re
from collections.abc import Iterable

# A model's name as providers write them. It becomes part of ids, headers and ledger rows.
MODEL = re.compile(r"[A-Za-z0-9~][\w.:/+~-]{0,199}", re.ASCII)
# How a setting or a header ends whose value is a secret.
_SECRET = re.compile(
    r"(^|[_-])(keys?|tokens?|secrets?|passwords?|passwd|credentials?|auth|authorization|cookies?)$", re.IGNORECASE
)
LONGEST = 300  # letters of a name that is compared; a megabyte takes 0.2 s


def matched(pattern: str, name: str) -> str | None:
    """What stands in `name` for the one `*` of `pattern`; None where it does not match, or that is no model's name."""
    before, _, after = pattern.partition("*")
    if not name.startswith(before) or not name.endswith(after):
        return None
    part = name[len(before) : len(name) - len(after)]
    return part if MODEL.fullmatch(part) else None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, or None when nothing is near, or it is longer than any name."""
    if len(name) > LONGEST:
        return None
    choices = {choice.lower(): choice for choice in known}
    close = difflib.get_close_matches(name.lower(), choices, n=1, cutoff=0.6)
    return choices[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`, did you mean X?`, or an empty string."""
    close = nearest(name, known)
    return f", did you mean {close}?" if close else ""


def of_a_secret(name: str) -> bool:
    """Whether what has this name is a secret, as far as names tell."""
    return _SECRET.search(name) is not None
