"""The scheme's vectors, and that nothing but the request that was signed fits a signature."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scribe_router.policies.signing import (
    NONCE,
    SIGNATURE,
    TIMESTAMP,
    BadSignature,
    Claim,
    Signable,
    canonical,
    claim,
    secret_of,
    signature,
    signed,
    verify,
)
from tests.support.examples import examples

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "signing.yaml").read_text(encoding="utf-8"))
SECRET = CASES["secret"].encode()
NOW = 1_795_170_000
REQUEST = Signable("POST", b"/v1/chat/completions", b"a=1&b=2", b'{"model": "echo"}')
HEADERS = signed(SECRET, "k7Qm2", NOW, "0123456789abcdef", REQUEST)


def fits(headers: dict[str, str], request: Signable, now: float = NOW, secret: bytes = SECRET) -> bool:
    """Whether a server lets it through, which is what a claim that can be read and verified does."""
    try:
        claimed = claim(headers)
        if claimed is not None:
            verify(claimed, request, secret, now)
    except BadSignature:
        return False
    return claimed is not None


@pytest.mark.parametrize("vector", CASES["vectors"], ids=lambda each: each["about"])
def test_vectors(vector: dict[str, Any]) -> None:
    request = Signable(
        vector["method"], vector["path"].encode(), vector["query"].encode(), vector["body"].encode("utf-8")
    )
    names = (vector["key"], vector["timestamp"], vector["nonce"])
    assert canonical(*names, request).decode() == vector["canonical"]
    assert signature(SECRET, *names, request) == vector["signature"]
    headers = signed(SECRET, *names, request)
    assert headers[SIGNATURE] == f"v1:{vector['key']}:{vector['signature']}"
    assert claim(headers) == Claim(*names, vector["signature"])
    assert fits(headers, request, now=vector["timestamp"])


START, DIGITS = HEADERS[SIGNATURE][:-64], HEADERS[SIGNATURE][-64:]
BODY = REQUEST.body
Forgery = Callable[[random.Random], tuple[dict[str, str | None], dict[str, Any], float]]


def _digit(chance: random.Random) -> dict[str, str | None]:
    at = chance.randrange(64)
    other = chance.choice(sorted({*"0123456789abcdef"} - {DIGITS[at]}))
    return {SIGNATURE: START + DIGITS[:at] + other + DIGITS[at + 1 :]}


def _mixed(chance: random.Random) -> dict[str, str | None]:
    digits = "".join(chance.sample(DIGITS, 64))
    return {SIGNATURE: START + (digits if digits != DIGITS else digits[::-1])}


def _bit(chance: random.Random) -> dict[str, Any]:
    body = bytearray(BODY)
    body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    return {"body": bytes(body)}


QUERIES = (b"b=2&a=1", b"a=1", b"", b"a=1&b=2&", b"a=1&b=2&c=3", b"a=1&b=2&a=1", b"a=1&b=%2B2")
PATHS = (b"/v1/chat/completions/", b"/v1//chat/completions", b"/v1/chat%2Fcompletions", b"/", b"/V1/chat/completions")
HEADS = ("v1:k7Qm3:", "v2:k7Qm2:", "v1:", "", "v1:k7Qm2 :", "V1:k7Qm2:", " v1:k7Qm2:")
# One thing changed each: headers (None: left out), parts of the request, and the server's time.
FORGERIES: tuple[Forgery, ...] = (
    lambda chance: (_digit(chance), {}, 0),
    lambda chance: ({SIGNATURE: START + DIGITS[: chance.randrange(64)]}, {}, 0),
    lambda chance: (_mixed(chance), {}, 0),
    lambda chance: ({SIGNATURE: START + f"{chance.getrandbits(256):064x}"}, {}, 0),
    lambda chance: (dict(signed(chance.randbytes(32), "k7Qm2", NOW, HEADERS[NONCE], REQUEST)), {}, 0),
    lambda chance: ({SIGNATURE: chance.choice(HEADS) + DIGITS}, {}, 0),
    lambda chance: ({}, {}, chance.choice([-1, 1]) * chance.uniform(300.001, 1e7)),
    lambda chance: ({TIMESTAMP: str(NOW + chance.randint(1, 300))}, {}, 0),
    lambda chance: ({NONCE: f"{chance.getrandbits(90):023x}"}, {}, 0),
    lambda chance: ({chance.choice(list(HEADERS)): None}, {}, 0),
    lambda chance: ({}, _bit(chance), 0),
    lambda chance: ({}, {"body": chance.choice([BODY[: chance.randrange(len(BODY))], BODY + b" "])}, 0),
    lambda chance: ({}, {"query": chance.choice(QUERIES)}, 0),
    lambda chance: ({}, {"path": chance.choice(PATHS)}, 0),
    lambda chance: ({}, {"method": chance.choice(["GET", "PUT", "post", ""])}, 0),
)


def let_through(chance: random.Random) -> bool:
    headers, parts, shift = chance.choice(FORGERIES)(chance)
    kept = {name: value for name, value in {**HEADERS, **headers}.items() if value is not None}
    return fits(kept, replace(REQUEST, **parts), now=NOW + shift)


def test_ten_thousand_forgeries() -> None:
    chance = random.Random(6)
    assert fits(HEADERS, REQUEST)
    assert sum(let_through(chance) for _ in range(10_000)) == 0


def test_whatever_is_signed_nothing_else_fits() -> None:
    """Ten thousand requests, each with a copy that differs in one part of it."""
    chance = random.Random(7)
    for _ in range(10_000):
        request = Signable("POST", b"/" + chance.randbytes(3), chance.randbytes(3), chance.randbytes(9))
        other = Signable("POST", b"/" + chance.randbytes(3), request.query, request.body)
        headers = signed(SECRET, "k7Qm2", NOW, "0123456789abcdef", request)
        same = canonical("k", 0, "n", request) == canonical("k", 0, "n", other)
        assert fits(headers, other) == same


@pytest.mark.parametrize(
    ("now", "good"), [(-300, True), (300, True), (-300.5, False), (301, False), (float("nan"), False)]
)
def test_the_window(now: float, good: bool) -> None:
    assert fits(HEADERS, REQUEST, now=NOW + now) == good


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (SIGNATURE, "v1:k7Qm2:" + "A" * 64, "x-scribe-signature is not v1:KEY-ID:64 hexadecimal digits"),
        (SIGNATURE, "v1:k\n:" + "a" * 64, "x-scribe-signature is not"),
        (SIGNATURE, HEADERS[SIGNATURE] + "\n", "x-scribe-signature is not"),
        (TIMESTAMP, "1795170000.0", "x-scribe-timestamp is not a whole number"),
        (TIMESTAMP, "01795170000", "x-scribe-timestamp is not"),
        (TIMESTAMP, "-5", "x-scribe-timestamp is not"),
        (TIMESTAMP, "\u0661\u0667", "x-scribe-timestamp is not"),
        (TIMESTAMP, "9" * 5000, "x-scribe-timestamp is not"),
        (NONCE, "0123456789abcde", "x-scribe-nonce is not 16 to 64"),
        (NONCE, "0123456789abcde:", "x-scribe-nonce is not"),
        (NONCE, "a" * 65, "x-scribe-nonce is not"),
    ],
)
def test_headers_that_cannot_be_read(name: str, value: str, said: str) -> None:
    with pytest.raises(BadSignature, match=said):
        claim({**HEADERS, name: value})


def test_a_request_without_any_of_them_is_not_signed() -> None:
    assert claim({"authorization": "Bearer x"}) is None
    with pytest.raises(BadSignature, match="x-scribe-nonce is missing; a signed request has all three headers"):
        claim({name: value for name, value in HEADERS.items() if name != NONCE})


ODD = st.binary(max_size=40)


@settings(max_examples=examples(300), deadline=None)
@given(path=ODD, query=ODD, body=ODD)
def test_any_bytes_are_one_line_each_and_sign_themselves(path: bytes, query: bytes, body: bytes) -> None:
    request = Signable("POST", path, query, body)
    assert canonical("k", 0, "n" * 16, request).count(b"\n") == 7
    assert fits(signed(SECRET, "k7Qm2", NOW, "n" * 16, request), request)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"/a~b", b"/a%7Eb"), (b"/%e4", b"/%E4"), (b"/a%62c", b"/abc"), (b"", b"/"), (b"/a:b", b"/a%3Ab"),
    ],
)  # fmt: skip
def test_spellings_of_one_path(one: bytes, other: bytes) -> None:
    assert fits(signed(SECRET, "k", NOW, "n" * 16, replace(REQUEST, path=one)), replace(REQUEST, path=other))


def test_the_nonce_is_kept_for_the_whole_window() -> None:
    claimed = claim(HEADERS)
    assert claimed is not None
    assert (claimed.once, claimed.until(300)) == ("k7Qm2:0123456789abcdef", NOW + 600.0)


def test_a_secret_that_is_kept_nowhere() -> None:
    assert secret_of(b"pepper", "k7Qm2") == secret_of(b"pepper", "k7Qm2")
    assert len({secret_of(pepper, key) for pepper in (b"a", b"b") for key in ("k", "l")}) == 4
