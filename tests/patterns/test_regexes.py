"""What an operator's regular expression may be: those that could take long are refused before they meet a text."""

import pytest

from scribe_router.patterns.regexes import LONGEST, bounded


@pytest.mark.parametrize(
    ("regex", "reach"),
    [
        (r"EMP-\d{6}", 10),
        (r"\bEMP-\d{6}\b", 12),
        (r"(?i)prj-\w{3,10}-\w{3,10}", 25),
        (r"(?:a|b){4}", 4),
        (r"\w{1,64}+@\w{1,64}+", 129),
        (r"(?>a{1,9}){1,9}+x", 82),
        (r"(?<!\d)\d{8,10}(?!\d)", 12),
        (r"[A-Z]{2}\d{4,8}(?:-\d{1,4})?", 15),
        ("工号[0-9]{5}", 7),
    ],
)
def test_reach(regex: str, reach: int) -> None:
    assert bounded(regex) == reach


@pytest.mark.parametrize(
    ("regex", "why"),
    [
        ("(a+)+b", "without end"),
        (r"\w*", "nothing at all"),
        (r"x\w*", "without end"),
        (r"x\d{2,}", "without end"),
        ("a{0,9}", "nothing at all"),
        ("(a|a){50}", "ways"),
        ("(a{1,9}){1,9}x", "ways"),
        (r"\w{1,64}@\w{1,64}", "ways"),
        ("(?:a?){16}a{16}", "ways"),
        (r"(\w)\1", "group of its own"),
        ("(a)?(?(1)b|c)", "group of its own"),
        ("(", "no regular expression"),
        (r"\p{L}", "no regular expression"),
        ("x" * (LONGEST + 1), "letters"),
        ("(?:ab){1,300}", "ways"),
        ("x{99999999999}", "no regular expression"),
    ],
)
def test_refused(regex: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        bounded(regex)
