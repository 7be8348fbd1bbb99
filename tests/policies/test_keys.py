"""A virtual key: its text, its hash, and whether it opens."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from scribe_router.policies.keys import (
    RANDOM,
    Spec,
    VirtualKey,
    digest,
    genuine,
    lock,
    made,
    parsed,
    refusal,
    rotated,
)
from scribe_router.principals import Grant, Principal

HASH_KEY, NOW = b"h" * 32, 1_795_170_000.0
SPEC = Spec(name="ann", models=("gpt-*",))
TEXT, KEY = made(SPEC, bytes(range(RANDOM)), HASH_KEY, NOW)


def why(key: VirtualKey, text: str, now: float = NOW) -> str | None:
    identity, secret = parsed(text) or ("", "")
    return refusal(lock(key, ()), digest(identity, secret, HASH_KEY), now)


def test_the_text_of_a_key() -> None:
    assert TEXT == "sk-scribe-000102030405557851-BgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCU"
    assert parsed(TEXT) == (KEY.id, TEXT[-43:])
    assert genuine(KEY.id, HASH_KEY)
    assert not genuine(KEY.id, b"another" * 4)
    assert not genuine("0" * 18, HASH_KEY)
    assert why(KEY, TEXT) is None


@pytest.mark.parametrize(
    "text", ["", "sk-scribe-", TEXT[:-1], TEXT + "A", TEXT + "\n", " " + TEXT, TEXT.upper(), TEXT[:-1] + "+", "ключ"]
)
def test_what_is_no_key(text: str) -> None:
    assert parsed(text) is None


def test_only_a_keyed_hash_is_kept() -> None:
    kept = KEY.model_dump_json()
    assert TEXT[-43:] not in kept
    assert KEY.secrets[0].digest not in repr(KEY)
    assert "secrets" not in KEY.described()
    assert digest(KEY.id, TEXT[-43:], HASH_KEY).hex() == KEY.secrets[0].digest
    assert digest(KEY.id, TEXT[-43:], b"other" * 6).hex() != KEY.secrets[0].digest
    assert digest("0" * 18, TEXT[-43:], HASH_KEY).hex() != KEY.secrets[0].digest
    assert VirtualKey.model_validate_json(kept) == KEY


OTHER = TEXT[:-1] + "A"


@pytest.mark.parametrize(
    ("change", "text", "now", "expected"),
    [
        ({}, TEXT, NOW, None),
        ({}, OTHER, NOW, "is wrong"),
        ({"revoked": NOW}, TEXT, NOW, "was revoked"),
        ({"revoked": NOW}, OTHER, NOW, "is wrong"),
        ({"expires": NOW + 1}, TEXT, NOW, None),
        ({"expires": NOW + 1}, TEXT, NOW + 1, "has expired"),
        ({"expires": NOW + 1}, OTHER, NOW + 1, "is wrong"),
    ],
)
def test_whether_it_opens(change: dict[str, Any], text: str, now: float, expected: str | None) -> None:
    assert why(KEY.model_copy(update=change), text, now) == expected


def test_rotation_overlaps() -> None:
    second, newer = rotated(KEY, b"2" * 32, HASH_KEY, NOW, grace=60.0)
    assert parsed(second) != parsed(TEXT)
    assert [why(newer, each, NOW + 59) for each in (TEXT, second)] == [None, None]
    assert [why(newer, each, NOW + 60) for each in (TEXT, second)] == ["is wrong", None]
    third, newest = rotated(newer, b"3" * 32, HASH_KEY, NOW, grace=60.0)
    assert [why(newest, each) for each in (TEXT, second, third)] == ["is wrong", None, None]
    fourth, at_once = rotated(newest, b"4" * 32, HASH_KEY, NOW, grace=0.0)
    assert [why(at_once, each) for each in (second, third, fourth)] == ["is wrong", "is wrong", None]
    assert len(at_once.secrets) == 1


class Watched(bytes):
    """What may be compared only in a way whose time tells nothing."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared byte by byte, so its time tells how much is right")

    __ne__ = __eq__
    __hash__ = bytes.__hash__


def test_the_time_of_a_comparison_tells_nothing() -> None:
    with pytest.raises(AssertionError):
        assert Watched(b"a") == b"a"
    right = digest(*(parsed(TEXT) or ("", "")), HASH_KEY)
    one = lock(KEY, ())
    watched = replace(one, digests=tuple((Watched(kept), until) for kept, until in one.digests))
    assert refusal(watched, Watched(right), NOW) is None
    assert refusal(watched, Watched(b"x" * 32), NOW) == "is wrong"


def test_whom_it_lets_in() -> None:
    plain = lock(KEY, ("reasoning_effort",)).principal
    assert plain == Principal("ann", "ann", "", Grant(models=("gpt-*",), fields=("reasoning_effort",)))
    of_key = lock(KEY.model_copy(update={"fields": ()}), ("reasoning_effort",)).principal
    assert of_key.grant.fields == ()
    spec = Spec(
        name="bob", user="robert", team="blue", models=("*",), fields=("user",), tools=("git_*",), mcp_groups=("dev",),
        regions=("eu",), addresses=("192.0.2.0/24", "2001:db8::1"), signed="required", expires=NOW,
    )  # fmt: skip
    _, key = made(spec, bytes(RANDOM), HASH_KEY, NOW)
    assert lock(key, ()).principal == Principal(
        "bob", "robert", "blue",
        Grant(("*",), ("user",), ("git_*",), ("dev",), ("eu",), ("192.0.2.0/24", "2001:db8::1"), signed=True),
    )  # fmt: skip
    assert lock(key, ()).principal.grant is lock(key, ()).principal.grant, "alike grants are one"
    assert not lock(key, ()).principal.grant.administers


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "master"}, "a name of the router's own"),
        ({"name": "Ann"}, "pattern"),
        ({"name": "a b"}, "pattern"),
        ({"name": ""}, "pattern"),
        ({"name": "a" * 64}, "pattern"),
        ({"models": ()}, "at least 1"),
        ({"models": ("a b",)}, "at most one"),
        ({"models": ("a*b*",)}, "at most one"),
        ({"models": ("",)}, "at most one"),
        ({"models": ("a\x00",)}, "at most one"),
        ({"user": "a\nb"}, "control characters"),
        ({"user": "\ud800"}, "valid string"),
        ({"team": "x" * 257}, "at most 256"),
        ({"addresses": ("10.0.0.0/33",)}, "such as 10.0.0.0/8"),
        ({"addresses": ("10.0.0.1/8",)}, "such as 10.0.0.0/8"),
        ({"expires": float("nan")}, "finite"),
        ({"expires": -1}, "greater than 0"),
        ({"signed": "maybe"}, "required"),
        ({"revoked": 1.0}, "Extra inputs"),
    ],
)
def test_what_makes_no_key(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Spec.model_validate({"name": "ann", "models": ("a",), **wrong})
