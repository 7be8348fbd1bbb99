"""What opens doors: keys by the marks of their vendors, keys and tokens by the name before them, passwords."""

import base64
import re
from binascii import Error
from collections.abc import Iterator
from functools import cache

from scribe_router.patterns.spans import Finder, Span, Text, beginning, matching, random

# Whose, how they begin, how they go on.
_MARKED = (
    ("OpenAI, Anthropic, DeepSeek, Moonshot, DashScope, OpenRouter, LiteLLM, Langfuse", "sk-", r"[\w-]{20,}+"),
    ("Groq", "gsk_", r"\w{40,}+"),
    ("xAI", "xai-", r"\w{40,}+"),
    ("Perplexity", "pplx-", r"\w{40,}+"),
    ("Google", "AIza", r"[\w-]{35}(?![\w-])"),
    ("Google", "GOCSPX-", r"[\w-]{20,}+"),
    ("Amazon Bedrock", "ABSK", r"[A-Za-z0-9+/]{80,}+={0,2}+"),
    ("Hugging Face", "hf_", r"[A-Za-z0-9]{30,}+"),
    ("Replicate", "r8_", r"\w{30,}+"),
    ("Together", "tgp_v1_", r"[\w-]{32,}+"),
    ("Fireworks", "fw_", r"[A-Za-z0-9]{20,}+"),
    ("Cerebras", "csk-", r"\w{32,}+"),
    ("NVIDIA", "nvapi-", r"[\w-]{40,}+"),
    ("Voyage", "pa-", r"[\w-]{40,}+"),
    ("Jina", "jina_", r"[\w-]{40,}+"),
    ("Tavily", "tvly-", r"[\w-]{20,}+"),
    ("ElevenLabs", "sk_", r"[0-9a-f]{40,}+(?!\w)"),
    ("Pinecone", "pcsk_", r"\w{40,}+"),
    ("LangSmith", "lsv2_", r"\w{32,}+"),
    ("Databricks", "dapi", r"[0-9a-f]{32}(?:-\d)?(?!\w)"),
    *(("GitHub", f"gh{kind}_", r"[A-Za-z0-9]{36,}+") for kind in "pousr"),
    ("GitHub", "github_pat_", r"\w{40,}+"),
    ("GitLab", "glpat-", r"[\w.-]{20,}+"),
    *(("Slack", f"xox{kind}-", r"[\w-]{20,}+") for kind in "abeoprs"),
    ("Slack", "xapp-", r"[\w-]{20,}+"),
    ("Slack", "https://hooks.slack.com/services/", r"T\w{6,}+/B\w{6,}+/\w{16,}+"),
    *(("Stripe", f"{kind}_{mode}_", r"\w{16,}+") for kind in ("sk", "rk") for mode in ("live", "test")),
    ("Stripe, Svix", "whsec_", r"[A-Za-z0-9+/]{24,}+={0,2}+"),
    ("Twilio", "SK", r"[0-9a-f]{32}(?!\w)"),
    ("SendGrid", "SG.", r"[\w-]{16,}+\.[\w-]{16,}+"),
    ("Mailgun", "key-", r"[0-9a-f]{32}(?!\w)"),
    ("npm", "npm_", r"[A-Za-z0-9]{36,}+"),
    ("Python's package index", "pypi-AgE", r"[\w-]{50,}+"),
    *(("DigitalOcean", f"do{kind}_v1_", r"[0-9a-f]{64}(?!\w)") for kind in "opr"),
    *(("Shopify", f"shp{kind}_", r"[0-9a-fA-F]{32}(?!\w)") for kind in ("at", "ca", "pa", "ss")),
    ("Linear", "lin_api_", r"\w{32,}+"),
    ("Notion", "ntn_", r"\w{40,}+"),
    ("Figma", "figd_", r"[\w-]{32,}+"),
    ("Airtable", "pat", r"\w{14}\.[0-9a-f]{64}(?!\w)"),
    ("Postman", "PMAK-", r"[0-9a-f]{24}-[0-9a-f]{34}(?!\w)"),
    *(("Sentry", f"sntry{kind}_", r"[\w+/=]{40,}+") for kind in "su"),
    ("Grafana", "glsa_", r"\w{32,}+"),
    ("Grafana", "glc_", r"[A-Za-z0-9+/]{32,}+={0,2}+"),
    *(("Vault", f"hv{kind}.", r"[\w-]{20,}+") for kind in "sbr"),
    *(("Doppler", f"dp.{kind}.", r"\w{40,}+") for kind in ("pt", "st", "ct", "sa", "scim", "audit")),
    ("Docker Hub", "dckr_pat_", r"[\w-]{20,}+"),
    ("New Relic", "NRAK-", r"[A-Z0-9]{27}(?!\w)"),
    ("Supabase", "sbp_", r"[0-9a-f]{40}(?!\w)"),
    ("Supabase", "sb_secret_", r"[\w-]{20,}+"),
    *(("Square", f"sq0{kind}-", r"[\w-]{22,}+") for kind in ("atp", "csp")),
    ("Atlassian", "ATATT3", r"[\w=-]{100,}+"),
    ("age", "AGE-SECRET-KEY-1", r"[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}(?!\w)"),
)
VENDORS = tuple(dict.fromkeys(vendor for vendor, _, _ in _MARKED))
_PEM = (
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:\s?[A-Za-z-]{1,20}: [\w,. -]{1,100}(?=\s)){0,4}+(?:[A-Za-z0-9+/=\s]|\\{1,3}[nr]){40,16000}+"
    r"(?:-----END [A-Z0-9 ]{1,40}-----)?"
)

# What stands before a value: the name ends with one of these, between it and the value stands a sign.
_KEY_NAMES = ("api", "access", "secret", "account", "auth", "private", "master", "signing", "subscription", "service")
_TOKEN_NAMES = ("access", "refresh", "id", "auth", "session", "security", "csrf", "api", "bot", "bearer")
_POINTS = r"""["'`\\]{0,3}+[ \t]{0,4}+(?::=|=>|[:=\uff1a])[ \t]{0,4}+"""
_SIGN = _POINTS + r"""["'`\\]{0,3}+"""
_VALUE = r"([\w+/.~-]{16,2048}+={0,2}+)"


@cache
def _compiled(regex: str) -> re.Pattern[str]:
    return re.compile(regex, re.ASCII)


def _named(word: str, before: tuple[str, ...]) -> str:
    """A name that ends with `word`, behind one of `before`, as in `api_key`, `api-key` or `apikey`."""
    looks = "|".join(f"(?<={each}[ _-]{word})|(?<={each}{word})" for each in before)
    return f"{word}(?:{looks})"


def _assigned(name: str, hint: str) -> Finder:
    """Finds what looks drawn behind a name and a sign."""

    def find(text: Text) -> Iterator[Span]:
        if hint not in text.small:
            return
        for head in _compiled(name + _SIGN).finditer(text.small, text.back):
            match = _compiled(_VALUE).match(text.whole, head.end())
            if match and random(match[1]):
                yield match.span(1)

    return find


def _credentials(word: str) -> bool:
    """Whether a word is what HTTP's basic scheme sends: a name, a colon and a password in base64."""
    try:
        return b":" in base64.b64decode(word, validate=True)
    except (Error, ValueError):
        return False


KEYS: tuple[Finder, ...] = (
    matching(_PEM, "PRIVATE KEY"),
    *(beginning(start, rest, random) for _, start, rest in _MARKED),
    *(beginning(start, r"[A-Z2-7]{16}(?![A-Za-z0-9])") for start in ("AKIA", "ASIA")),
    matching(r"(?<!\d)\d{8,10}:AA[\w-]{33}(?![\w-])", ":AA"),
    matching(r"(?<![A-Za-z0-9])[A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{16,32}+", "JQQJ99"),
    _assigned(_named("key", _KEY_NAMES), "key"),
    _assigned("secret(?![a-z])", "secret"),
    _assigned(_named("token", ("twilio_auth",)), "token"),
)
TOKENS: tuple[Finder, ...] = (
    matching(r"(?<![\w.-])(eyJ[\w-]{8,}+(?:\.[\w-]{8,}+){2,4}+)", "eyJ"),
    beginning("ya29.", r"[\w-]{40,}+", random),
    matching(r"[Bb]earer[ \t]{1,4}+([\w.~+/=-]{16,4096}+)", "earer", random),
    matching(r"[Bb]asic[ \t]{1,4}+([A-Za-z0-9+/]{8,512}+={0,2}+)", "asic", _credentials),
    matching(r"uthorization[\"']?: ?[\"']?token[ \t]{1,4}+([\w.~+/=-]{16,4096}+)", "uthorization", random),
    _assigned(_named("token", _TOKEN_NAMES), "token"),
)

_TELLS = rf"(?![a-z])(?:{_POINTS}|[ \t]is:?[ \t]|是|(?<=--password)[ \t])[ \t]{{0,4}}+"
_PASSWORD = {
    word: re.compile(word + ending + _TELLS, re.ASCII)
    for word, ending in {
        "pass": "(?:word|wd|phrase|code|(?<=[_.-]pass))",
        "pwd": "",
        "密码": "",
        "口令": "",
    }.items()
}
PLAIN = r"""[^\s"'`,;&<>(){}\[\]\\\uff0c\uff1b\u3002]"""  # a letter of a password without quotes
_GIVEN = re.compile(rf"""\\?"([^"\\\n]{{1,200}}+)|\\?'([^'\\\n]{{1,200}}+)|({PLAIN}{{4,200}}+)""", re.ASCII)
_PLAIN = 3  # the group of `_GIVEN` that has no quotes around
_NOTHING = frozenset(
    "none null nil true false str string text bytes required optional hidden redacted masked undefined empty input "
    "password passwd passphrase secret any object example".split()
)
_REFERENCE = re.compile(r"[$<{%\[]|[*•.x]{3,}\Z|your|os\.environ|env[.:]", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_]+(?:[./-][A-Za-z_]+)*\Z", re.ASCII)
_PHRASE = re.compile(r"passphrase[ \t]{0,2}+[:=][ \t]{0,2}+(?![\"'])([^\n\"'\\]{4,100}+)", re.ASCII)
_SYMBOL = re.compile(r"[0-9!@#$%^&*+?~|]")


def given(word: str, *, plain: bool = False) -> bool:
    """Whether a word behind a password's name is one, and no reference to it. A `plain` one has no quotes around."""
    if word.lower() in _NOTHING or _REFERENCE.match(word) or not word.strip():
        return False
    return not plain or (_SYMBOL.search(word) is not None and _NAME.match(word) is None)


def _passwords(text: Text) -> Iterator[Span]:
    for word, regex in _PASSWORD.items():
        if word in text.small:
            for head in regex.finditer(text.small, text.back):
                yield from _behind(head, text.whole)


def _behind(head: re.Match[str], text: str) -> Iterator[Span]:
    match = _GIVEN.match(text, head.end())
    if match is None:
        return
    start, end = match.span(match.lastindex or 0)
    plain = match.lastindex == _PLAIN
    end -= len(match[0]) - len(match[0].rstrip(".")) if plain else 0
    shouted = text[head.start() : head.start() + 3].isupper() and "=" in head[0]
    if given(text[start:end], plain=plain and not shouted):
        yield start, end


def _phrases(text: Text) -> Iterator[Span]:
    for match in _PHRASE.finditer(text.small, text.back):
        if given(text.whole[slice(*match.span(1))]):
            yield match.span(1)


PASSWORDS: tuple[Finder, ...] = (
    matching(r"://[^\s:/@?#\"'<>]{0,64}+:([^\s/@\"'<>\\]{1,256}+)@(?=[\w.\[-])", "://", given),
    matching(r"(?<![\w-])(?:-u|--user)[ =][\"']?[\w.@-]{1,64}+:([^\s\"'@/\\]{4,128}+)", "-u", given),
    _phrases,
    _passwords,
)


def names_password(name: str) -> bool:
    """Whether a field of this name holds a password: `password`, `DB_PASSWORD`, `pwd`."""
    field = f"{name}=".lower()
    return any(word in field and regex.search(field) for word, regex in _PASSWORD.items())
