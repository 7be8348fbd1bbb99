"""What is somebody's own: cards, accounts, numbers of persons, addresses of mail, telephones; with checksums where they
have any."""

import re
from collections.abc import Iterator

from scribe_router.patterns.spans import Finder, Span, Text, matching

# -- cards: ISO/IEC 7812, the ranges that are in use

# Groups of digits with one sign between them.
_RUN = re.compile(
    r"\d(?<![A-Za-z0-9_]\d)(?<!\d\.\d)(?=(?:[ -]?\d){12})\d*+(?:([ -])\d++(?:\1\d++)*+)?(?![A-Za-z0-9_])(?!\.\d)",
    re.ASCII,
)
_GROUP = re.compile(r"\d+")
_LAYOUTS = (4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 4, 2), (4, 4, 4, 4, 1)
_SHORTEST = 13
_AFTER = 2  # groups behind a card that are not the rest of a table: when it ends, its check value
_ISSUERS = (  # how the number begins, how long it may be
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"6011|64[4-9]|65"), (16, 19)),
    (re.compile(r"36|38|39|30[0-5]"), (14, 16, 19)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 19)),
    (re.compile(r"62|81"), (16, 17, 18, 19)),
    (re.compile(r"5018|5020|5038|5893|6304|6759|676[1-3]"), (16, 17, 18, 19)),
)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of those before it (ISO/IEC 7812)."""
    odd, even = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, odd)) + sum(sum(divmod(2 * int(each), 10)) for each in even)) % 10 == 0


def _card(digits: str) -> bool:
    return any(len(digits) in sizes and begin.match(digits) for begin, sizes in _ISSUERS) and luhn(digits)


def _cards(text: Text) -> Iterator[Span]:
    for run in _RUN.finditer(text.whole, text.start):
        if run.end() - run.start() < _SHORTEST:
            continue
        groups = [match.span() for match in _GROUP.finditer(text.whole, *run.span())]
        if len(groups) > max(map(len, _LAYOUTS)) + _AFTER:
            continue
        for first in range(len(groups)):
            found = _card_at(text.whole, groups, first)
            if found is not None:
                yield found
                break


def _card_at(text: str, groups: list[Span], first: int) -> Span | None:
    """The card whose first group this is: one group, or those of a layout, that no further groups like them follow."""
    for size in (5, 4, 3, 1):
        taken = groups[first : first + size]
        sizes = tuple(end - start for start, end in taken)
        if len(taken) < size or (size > 1 and (sizes not in _LAYOUTS or first > 0)):
            continue
        span = taken[0][0], taken[-1][1]
        if len(groups) - first - size <= _AFTER and _card(text[slice(*span)].replace(" ", "").replace("-", "")):
            return span
    return None


# -- accounts: ISO 13616, each country's length

_IBANS = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    33: "LC RU",
}
_SIZES = {country: size for size, countries in _IBANS.items() for country in countries.split()}
_COUNTRY = re.compile(r"[A-Z](?<![A-Za-z0-9][A-Z])[A-Z]\d\d", re.ASCII)
_WHOLE = {size: re.compile(rf"[A-Z]{{2}}\d\d(?: ?[A-Z0-9]){{{size - 4}}}(?![A-Za-z0-9])", re.ASCII) for size in _IBANS}


def mod_97(iban: str) -> bool:
    """Whether the check digits of an IBAN are right (ISO 7064)."""
    plain = iban.replace(" ", "")
    return int("".join(str(int(each, 36)) for each in plain[4:] + plain[:4])) % 97 == 1


def _ibans(text: Text) -> Iterator[Span]:
    for head in _COUNTRY.finditer(text.whole, text.start):
        size = _SIZES.get(head[0][:2])
        match = _WHOLE[size].match(text.whole, head.start()) if size else None
        if match is not None and mod_97(match[0]):
            yield match.span()


# -- persons in the USA: three digits, two, four, none of them all zeros

_SSN = r"\d\d(?<=[0-8]\d\d)(?<!000)(?<!666){0}(?!00)\d\d{0}(?!0000)\d{{4}}(?![\w-])"
_SSN_NAME = re.compile(
    r"(?:(?<![a-z])ssn|social security(?: number| no\.?)?)[\"']?(?: is)?[ \t]{0,2}[:=]?[ \t]{0,2}[\"']?", re.ASCII
)
_SSN_ANY = re.compile("|".join(rf"\d{_SSN.format(mark)}" for mark in ("-", " ", "")), re.ASCII)


def _social(text: Text) -> Iterator[Span]:
    if "ssn" in text.small or "social security" in text.small:
        for head in _SSN_NAME.finditer(text.small, text.back):
            match = _SSN_ANY.match(text.whole, head.end())
            if match is not None:
                yield match.span()


# -- mail

_EMAIL = r"(?<![\w.+%-])[\w.+%-]{1,64}+@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}+)\.){1,6})([A-Za-z]{2,24})(?![\w-])"
_FILES = frozenset("png jpg jpeg gif webp svg ico js mjs ts css map py json html md txt yaml yml zip gz git".split())
_EMAIL_ALL = re.compile(_EMAIL, re.ASCII)


def _emails(text: Text) -> Iterator[Span]:
    if "@" not in text.whole:
        return
    for match in _EMAIL_ALL.finditer(text.whole, text.start):
        local = match[0].partition("@")[0]
        if match[2].lower() not in _FILES and local != "git" and local.strip(".-%+"):
            yield match.span()


# -- telephones: E.164, North America's, China's mobile ones, others by the name before them

_PHONES = "phone mobile tel cell fax 手机 电话".split()
_PHONE_NAME = {
    word: re.compile(
        rf"{word}(?<![a-df-z]{word})(?:号码?)?(?:[ _-]?(?:no|number|nr))?\.?"
        rf"[\"']?[ \t]{{0,2}}+[:=\uff1a是]?[ \t]{{0,2}}+[\"']?",
        re.ASCII,
    )
    for word in _PHONES
}
_PHONE_ANY = re.compile(r"\+?\(?\d(?:[ ()./-]{0,2}\d){6,14}+(?![\w-])", re.ASCII)


def _telephones(text: Text) -> Iterator[Span]:
    for word, regex in _PHONE_NAME.items():
        if word in text.small:
            for head in regex.finditer(text.small, text.back):
                match = _PHONE_ANY.match(text.whole, head.end())
                if match is not None:
                    yield match.span()


# Three digits of an area, three of an exchange, four; in front of them stands nothing of a longer number.
_REST = r"[2-9]\d\d[.-]\d{4}(?![\w-])(?!\.\d)"
_MOBILE = r"(?:3\d|4[5-9]|5[0-35-9]|6[2567]|7[0-8]|8\d|9[0-35-9])(?:[ -]?\d{4}){2}(?![\w-])(?!\.\d)"

CARDS: tuple[Finder, ...] = (_cards,)
IBANS: tuple[Finder, ...] = (_ibans,)
SSNS: tuple[Finder, ...] = (matching(r"[0-8](?<![\w.-][0-8])" + _SSN.format("-"), "-"), _social)
EMAILS: tuple[Finder, ...] = (_emails,)
PHONES: tuple[Finder, ...] = (
    matching(r"\+(?<![\w+.]\+)1[ .-]?\(?[2-9]\d\d\)?[ .-]?[2-9]\d\d[ .-]?\d{4}(?!\w)", "+1"),
    matching(r"\+(?<![\w+.]\+)[2-9](?:[ ()./-]{0,2}\d){7,14}+(?!\w)", "+"),
    matching(r"\((?<![\w.+-]\()[2-9]\d\d\) ?" + _REST, "("),
    matching(r"[2-9](?<![\w.+-][2-9])\d\d[.-]" + _REST, "-"),
    matching(r"1(?<![\w.+-]1)[ .-][2-9]\d\d[.-]" + _REST, "1"),
    matching(r"1(?<![\w.+-]1)" + _MOBILE, "1"),
    _telephones,
)
