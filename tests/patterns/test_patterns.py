"""Checksums, edges, and what is nobody's words."""

import random as dice

import pytest

from scribe_router.patterns import KINDS, Found, find
from scribe_router.patterns.credentials import VENDORS, given, names_password
from scribe_router.patterns.personal import luhn, mod_97
from scribe_router.patterns.spans import random

CARD = "4111111111111111"


def kinds(text: str, *only: str) -> list[tuple[str, str]]:
    wanted = [(kind, finders) for kind, finders in KINDS.items() if not only or kind in only]
    return [(each.kind, text[each.start : each.end]) for each in find(text, wanted)]


def test_luhn_notices_every_wrong_digit() -> None:
    assert luhn(CARD)
    wrong = [CARD[:at] + digit + CARD[at + 1 :] for at in range(16) for digit in "0123456789" if digit != CARD[at]]
    assert not any(map(luhn, wrong))
    assert [digits for digits in wrong if kinds(digits, "card")] == []


def test_mod_97_notices_every_wrong_digit() -> None:
    iban = "DE89370400440532013000"
    assert mod_97(iban)
    wrong = [iban[:at] + digit + iban[at + 1 :] for at in range(2, 22) for digit in "0123456789" if digit != iban[at]]
    assert not any(map(mod_97, wrong))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("4111 1111 1111 1111 12/29 123", "4111 1111 1111 1111"),
        ("4111 1111 1111 1111 1229", "4111 1111 1111 1111"),
        ("1 4111111111111111", "4111111111111111"),
        ("4111-1111-1111-1111 4000 0000", "4111-1111-1111-1111"),
        ("4111-1111 1111-1111", None),
        ("1234 4111 1111 1111 1111", None),
        ("4111 1111 1111 1111 1111 1111 1111", None),
        ("4111.1111.1111.1111", None),
        ("x4111111111111111", None),
        ("".join(chr(0xFF10 + int(digit)) for digit in CARD), None),
    ],
)
def test_where_a_card_begins_and_ends(text: str, found: str | None) -> None:
    assert kinds(text, "card") == ([("card", found)] if found else [])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("İ password: İx9!y İ", [("password", "İx9!y")]),  # whose small letter is two
        ("password: [password:abcdefghij]", []),
        ("https://u:[password:abcdefghij]@host", []),
        ("write jan***@example.com", []),
        ("mask icon@3x.webp, git@github.com:a/b.git", []),
        ("PASSWORD=onlyletters and password=onlyletters", [("password", "onlyletters")]),
        ('{"a": "{\\"password\\": \\"x1!y\\"}"}', [("password", "x1!y")]),
        ("", []),
    ],
)
def test_edges(text: str, found: list[tuple[str, str]]) -> None:
    assert kinds(text) == found


def test_media_is_nobodys_words() -> None:
    letters = dice.Random(5).choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef0123456789+/", k=50)
    data = f"data:image/png;base64,{''.join(letters)}/AKIA{'A' * 16}/{CARD}+"
    assert kinds(f"look: ![]({data}) and {CARD}") == [("card", CARD)]
    assert kinds(data.replace(";base64", "")) == [("key", f"AKIA{'A' * 16}"), ("card", CARD)]


def test_of_two_the_earlier_kind_counts() -> None:
    text = "https://ann:x1-y2-z3@mail.example.com/"
    assert kinds(text) == [("password", "x1-y2-z3")]
    assert kinds(text, "email") == [("email", "x1-y2-z3@mail.example.com")]


def test_from_a_place_on_what_is_before_is_looked_back_at() -> None:
    text = f"password: x1!y, then {CARD}"
    assert find(text, KINDS.items(), start=10)[0] == Found(10, 14, "password")
    assert [each.kind for each in find(text, KINDS.items(), start=11)] == ["card"]
    assert find(text, KINDS.items(), start=text.index("1111")) == []


@pytest.mark.parametrize("word", ["x" * 32, "abc-def-ghi-jkl-mno-pqr", "scikit-learn-2026-in-detail", "A" * 20 + "a1"])
def test_written_words_are_not_drawn(word: str) -> None:
    assert not random(word)


def test_hex_and_letters_are_drawn() -> None:
    lots = dice.Random(1)
    assert all(random("".join(lots.choices("0123456789abcdef", k=32))) for _ in range(1000))
    assert all(random("".join(lots.choices("abcXYZ0189-_", k=40))) for _ in range(1000))


@pytest.mark.parametrize("name", ["password", "DB_PASSWORD", "pgPassword", "pwd", "user.pass", "passphrase", "密码"])
def test_names_of_passwords(name: str) -> None:
    assert names_password(name)


@pytest.mark.parametrize("name", ["passwords", "compass", "passage", "password_hint", "user", ""])
def test_names_of_other_things(name: str) -> None:
    assert not names_password(name)


def test_a_reference_is_no_password() -> None:
    assert not any(map(given, ["${X}", "{{ x }}", "<yours>", "****", "None", "os.environ[X]", "your-password", " "]))
    assert given("None-1")


def test_vendors_are_named_once() -> None:
    assert len(VENDORS) == len(set(VENDORS)) >= 40
