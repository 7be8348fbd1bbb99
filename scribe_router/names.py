"""What a person probably meant by a name. Knows spelling, no meaning."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, or None when nothing is near."""
    choices = {choice.lower(): choice for choice in known}
    close = difflib.get_close_matches(name.lower(), choices, n=1, cutoff=0.6)
    return choices[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`, did you mean X?`, or an empty string."""
    close = nearest(name, known)
    return f", did you mean {close}?" if close else ""
