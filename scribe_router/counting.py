"""Counts the tokens of texts with the vocabularies that LiteLLM's package carries, each loaded when it is first needed.

tiktoken by itself would fetch them from the network: so the files are read here, and checked. LiteLLM is not imported,
no connection is opened, and without the files nothing is counted, which leaves nobody out. Knows no model, no window.
"""

import base64
import hashlib
import importlib.util
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from scribe_router.contents import Contents
from scribe_router.exchange import Call
from scribe_router.plan import Plan
from scribe_router.policies.tokens import Counted, Encoding

if TYPE_CHECKING:
    from tiktoken import Encoding as Tokenizer

log = logging.getLogger("scribe_router.counting")
FOLDER = "litellm_core_utils/tokenizers"
PIECE = 65_536  # letters that are counted in one go: 10 ms
# What a cut may stand before without a token lost or won: a space between two words.
_BETWEEN_WORDS = re.compile(r"(?<=[^\W\d_])(?= [^\W\d_])")
_LOOKED_AT = 512
_WIDE, _RUN = 1, 2

# How a text is cut into words, as tiktoken has it.
_O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s"
)
# (file in LiteLLM's package, its SHA-256, how it cuts).
_PACKAGED: Mapping[Encoding, tuple[str, str, str]] = {
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        _O200K,
    ),
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        _CL100K,
    ),
}


def counted(call: Call, wanted: Mapping[Encoding, int]) -> tuple[Counted, ...]:
    """The tokens of a call in the encodings that are `wanted`, each up to so many, where there is a vocabulary."""
    inside = Contents(call.api, call.body)
    texts, (tools, schema) = inside.read(), inside.definitions()
    found = []
    for encoding, enough in wanted.items():
        vocabulary = _vocabulary(encoding)
        if vocabulary is not None:
            text, wide, runs, end = vocabulary.tally(texts, enough)
            of_tools, of_schema = (vocabulary.tally((each,), enough)[0] for each in (tools, schema))
            found.append(Counted(encoding, text, wide, runs, of_tools, of_schema, end))
    return tuple(found)


def settled(planned: Callable[[tuple[Counted, ...]], Plan], call: Call) -> Plan:
    """The plan of a call, whose texts are counted where it depends on that."""
    found = planned(())
    return planned(counted(call, found.uncounted)) if found.uncounted else found


class _Vocabulary:
    """A tokenizer, and what kind each of its tokens is."""

    def __init__(self, tokenizer: "Tokenizer", ranks: Mapping[bytes, int]) -> None:
        self._tokenizer = tokenizer
        kinds = bytearray(len(ranks))
        for token, rank in ranks.items():
            kinds[rank] = _RUN if token.count(token[0]) == len(token) > 1 else 0 if token.isascii() else _WIDE
        self._kinds = bytes(kinds)

    def tally(self, texts: Iterable[str], enough: int) -> tuple[int, int, int, bool]:
        """(tokens, wide ones, those that go on repeating a letter, whether all was counted). Counting stops where there
        are more than `enough`. A cut within a word may make one token more of it, so it counts for one less."""
        total = wide = runs = 0
        for piece, torn in (each for text in texts for each in pieces(text)):
            if total > enough:
                return total, wide, runs, False
            tokens = self._tokenizer.encode_ordinary(piece)
            kinds = bytes(map(self._kinds.__getitem__, tokens))
            total += len(tokens) - torn
            wide += kinds.count(_WIDE)
            if _RUN in kinds:
                runs += sum(map(_repeats, kinds, tokens, tokens[1:]))
        return total, wide, runs, True


def _repeats(kind: int, token: int, following: int) -> bool:
    return kind == _RUN and token == following


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces that are counted one by one, each with whether its end tears a word."""
    start = 0
    while len(text) - start > PIECE:
        end = start + PIECE
        between = [each.start() for each in _BETWEEN_WORDS.finditer(text, end - _LOOKED_AT, end)]
        yield text[start : between[-1] if between else end], not between
        start = between[-1] if between else end
    if start < len(text):
        yield text[start:], False


@lru_cache
def _vocabulary(encoding: Encoding) -> _Vocabulary | None:
    """A vocabulary: half a second, and some 80 MB, once in a process."""
    name, digest, pattern = _PACKAGED[encoding]
    spec = importlib.util.find_spec("litellm")
    try:
        content = (Path(spec.origin if spec and spec.origin else "").parent / FOLDER / name).read_bytes()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != digest:
        log.warning("LiteLLM's package has no vocabulary %s; no request is too long by it", encoding)
        return None
    from tiktoken import Encoding as Tokenizer

    lines = (line.split() for line in content.splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    return _Vocabulary(Tokenizer(encoding, pat_str=pattern, mergeable_ranks=ranks, special_tokens={}), ranks)
