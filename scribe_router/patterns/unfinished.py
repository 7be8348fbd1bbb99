"""Where in a text that goes on something private may have begun, of which the rest is still to come.

What is before that place is as it will be found in the whole text; a few words at most are behind it.
"""

import re
from collections.abc import Callable

from scribe_router.patterns.credentials import PLAIN
from scribe_router.patterns.spans import Text

LONGEST = 8192  # how much is ever held back; what is private and longer is found in a whole text only
BEFORE = 256  # how much of what was given out is still looked back at

_WORD = re.compile(r"(?<![!-~])[!-~]++\Z")
_DIGITS = re.compile(r"(?<![\d ().+/-])[\d ().+/-]++\Z", re.ASCII)
_ACCOUNT = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d[A-Z0-9 ]{0,48}+\Z", re.ASCII)
_QUOTED = re.compile(r"(?:word|wd|phrase|code|pass|密码|口令)[^\n\"']{0,24}([\"'][^\"'\n]{0,200}+)\Z", re.ASCII)
# A password goes on over letters that no word of another kind has.
_PLAIN = re.compile(rf"(?:word|wd|phrase|code|pass|密码|口令)[^\n\"']{{0,24}}?({PLAIN}{{0,200}}+)\Z", re.ASCII)
_IN_URL = re.compile(r"://[^\s/@\"'<>\\]{0,321}+@?\Z", re.ASCII)
_FOR_USER = re.compile(r"(?:-u|--user)[ =][\"']?[\w.@-]{1,64}+:[^\s\"'@/\\]{0,128}+\Z", re.ASCII)
_PHRASE = re.compile(r"passphrase[ \t]{0,2}+[:=]([^\n]{0,110}+)\Z", re.ASCII)
_PEM = "-----BEGIN "
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{1,40}-----")


def _pem(text: str) -> int:
    start = text.rfind(_PEM)
    if start >= 0 and not _PEM_END.search(text, start):
        return start
    return len(text)


def _at(regex: re.Pattern[str], window: int, *, small: bool = False) -> Callable[[str], int]:
    """Where the end of a text, of at most `window` letters, matches."""

    def find(text: str) -> int:
        cut = max(0, len(text) - window)
        tail = text[cut:]
        match = regex.search(Text.of(tail).small if small else tail)
        return cut + match.start(match.lastindex or 0) if match else len(text)

    return find


_WORDS = (_at(_WORD, LONGEST),)
_SPACED = {
    "key": (_pem,),
    "password": (
        *(_at(regex, window, small=True) for regex, window in ((_QUOTED, 320), (_PLAIN, 320), (_PHRASE, 160))),
        _at(_IN_URL, 329),
        _at(_FOR_USER, 208),
    ),
    "card": (_at(_DIGITS, LONGEST),),
    "ssn": (_at(_DIGITS, LONGEST),),
    "phone": (_at(_DIGITS, LONGEST),),
    "iban": (_at(_ACCOUNT, 80),),
}


def finished(text: str, kinds: frozenset[str], reach: int = 0) -> int:
    """How much of a text, from its beginning, no private text of these kinds can stand in that is not whole. `reach` is
    how many letters a pattern of an operator's looks at."""
    places = [find(text) for find in _WORDS]
    places += [find(text) for kind, finds in _SPACED.items() if kind in kinds for find in finds]
    return max(min(*places, len(text) - reach), len(text) - LONGEST)
