"""The rules of the house: who may import what, and what importing costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "scribe_router"
HEAVY = ("litellm", "openai", "fastapi", "aiohttp", "redis", "tiktoken")


@dataclass(frozen=True)
class Rule:
    """Modules below `part` never import what starts with one of `never`, except what starts with one of `unless`."""

    name: str
    part: str
    never: tuple[str, ...]
    unless: tuple[str, ...] = ()


# What every module may speak of.
VOCABULARY = tuple(f"scribe_router.{each}" for each in ("exchange", "principals", "counters", "money", "errors"))
PURE = (
    "litellm",
    "aiohttp",
    "os",
    "time",
    "asyncio",
    "random",
    "scribe_router.stores",
    "scribe_router.upstream",
    "scribe_router.config",
    "scribe_router.router",
)
FINISHED = ("litellm", "aiohttp", "scribe_router.router", "scribe_router.upstream", "scribe_router.stores")
RULES = [
    Rule(
        "a policy decides from its arguments alone",
        "policies",
        (
            "litellm",
            "aiohttp",
            "httpx",
            "socket",
            "os",
            "pathlib",
            "time",
            "asyncio",
            "sqlite3",
            "redis",
            "scribe_router",
        ),
        (
            *VOCABULARY,
            "scribe_router.litellm_names",
            "scribe_router.names",
            "scribe_router.policies.schema",
            "scribe_router.policies.mcp",
            "scribe_router.policies.quirks",  # rows of providers.yaml
            "scribe_router.values",
            "scribe_router.policies.addresses",  # what access.yaml and a key say of networks
            "scribe_router.policies.signing",  # what a key is signed with
            "scribe_router.patterns",
        ),
    ),
    *(
        Rule(name, part, PURE)
        for name, part in (
            ("what a name means is a pure question", "requested.py"),
            ("who may serve is a pure question", "eligible.py"),
            ("whether a request fits is a pure question", "preflight.py"),
            ("what stands in for what is a pure question", "chains.py"),
            ("what a body holds is a pure question", "contents.py"),
            ("the planner is pure", "plan.py"),
            ("the order of deployments is a pure question", "ordering.py"),
            ("what a request is at its arrival rests on the registry alone", "arrival.py"),
            ("the walk is pure", "walk.py"),
            ("how rounds are put together is a pure question", "tools/turns.py"),
        )
    ),
    *(
        Rule(
            name, part, (*PURE, "scribe_router.policies", "scribe_router.server"), ("scribe_router.policies.redaction",)
        )
        for name, part in (
            ("what is private in a text is a pure question", "patterns"),
            ("what is replaced is a pure question", "redaction.py"),
            ("what can be said of a passage is a pure question", "passages.py"),
        )
    ),
    Rule("patterns know texts only", "patterns", ("scribe_router",), ("scribe_router.patterns",)),
    *(
        Rule(name, part, ("litellm", "aiohttp", "scribe_router"), unless)
        for name, part, unless in (
            ("a principal knows nobody", "principals.py", ()),
            ("a counter knows no policy", "counters.py", ()),
            ("money knows nothing", "money.py", ()),
            ("the exchange knows its own facts only", "exchange.py", ("scribe_router.plan", *VOCABULARY)),
            ("a receipt knows exchanges only", "receipt.py", VOCABULARY),
        )
    ),
    Rule(
        "a deployment knows no other",
        "deployment.py",
        (*PURE, "scribe_router.registry", "scribe_router.config", "scribe_router.plan"),
    ),
    Rule(
        "stores do not know what a budget means",
        "stores",
        ("litellm", "aiohttp", "scribe_router"),
        ("scribe_router.stores", *VOCABULARY),
    ),
    Rule(
        "configuration knows no running objects",
        "config",
        (
            "litellm",
            "aiohttp",
            "asyncio",
            "scribe_router.router",
            "scribe_router.stores",
            "scribe_router.upstream",
            "scribe_router.server",
        ),
    ),
    Rule(
        "where secrets come from knows no configuration",
        "secrets",
        ("litellm", "aiohttp", "yaml", "scribe_router"),
        (
            "scribe_router.secrets",
            "scribe_router.errors",
            "scribe_router.names",
            "scribe_router.litellm_names",
            "scribe_router.plugins",
            "scribe_router.policies.schema",
        ),
    ),
    Rule(
        "the server knows no strategy, no money, no litellm",
        "server",
        (
            "litellm",
            "aiohttp",
            "sqlite3",
            "scribe_router.policies",
            "scribe_router.upstream",
            "scribe_router.plan",
            "scribe_router.accounts",
            "scribe_router.stores",
        ),
        (
            "scribe_router.policies.access",
            "scribe_router.policies.addresses",
            "scribe_router.policies.signing",
            "scribe_router.stores.contract",
            "scribe_router.stores.nonces",
        ),
    ),
    Rule(
        "the way out knows no client and no SQL",
        "upstream",
        ("fastapi", "starlette", "sqlite3", "scribe_router.server", "scribe_router.stores.sqlite"),
    ),
    Rule(
        "the router knows no YAML, no SQL, no HTTP",
        "router.py",
        ("yaml", "sqlite3", "fastapi", "starlette", "aiohttp", "litellm", "scribe_router.server"),
    ),
    Rule(
        "the cache knows no HTTP, no SQL, no provider",
        "cache.py",
        (
            "yaml",
            "sqlite3",
            "redis",
            "fastapi",
            "starlette",
            "aiohttp",
            "litellm",
            "scribe_router.config",
            "scribe_router.router",
            "scribe_router.server",
            "scribe_router.upstream",
        ),
    ),
    Rule(
        "counting opens no connection",
        "counting.py",
        ("litellm", "aiohttp", "asyncio", "socket", "scribe_router.upstream", "scribe_router.registry"),
    ),
    Rule(
        "the attempt loop keeps nothing and knows no client",
        "attempt_loop.py",
        (
            "yaml",
            "sqlite3",
            "fastapi",
            "starlette",
            "aiohttp",
            "litellm",
            "scribe_router.server",
            "scribe_router.router",
            "scribe_router.journal",
            "scribe_router.cache",
            "scribe_router.stores",
        ),
    ),
    Rule(
        "an attempt knows nothing of the one that follows",
        "attempts.py",
        (
            "yaml",
            "sqlite3",
            "fastapi",
            "starlette",
            "scribe_router.server",
            "scribe_router.walk",
            "scribe_router.attempt_loop",
            "scribe_router.router",
        ),
    ),
    Rule(
        "the sandbox shares no code with what it tests",
        "sandbox",
        ("litellm", "scribe_router"),
        ("scribe_router.sandbox",),
    ),
    *(
        Rule(
            name, part, ("litellm", "aiohttp", "scribe_router.router", "scribe_router.upstream", "scribe_router.stores")
        )
        for name, part in (
            ("the journal knows finished exchanges only", "journal.py"),
            ("a record knows finished exchanges only", "record.py"),
            ("what explains a past request cannot serve one", "explain_past.py"),
        )
    ),
]
ONLY_UPSTREAM = ("litellm", "aiohttp")


def modules(part: str) -> list[Path]:
    """The files of a package, or the one module."""
    return sorted((PACKAGE / part).rglob("*.py")) if (PACKAGE / part).is_dir() else [PACKAGE / part]


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def below(name: str, roots: tuple[str, ...]) -> bool:
    return any(name == root or name.startswith(root + ".") for root in roots)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_forbidden_imports(rule: Rule) -> None:
    found = modules(rule.part)
    assert found, f"{rule.part} is gone; mend the rule"
    broken = {
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in found
        for name in imports(path)
        if below(name, rule.never) and not below(name, rule.unless)
    }
    assert not broken


def test_only_upstream_opens_the_way_out() -> None:
    others = [path for path in modules(".") if path.relative_to(PACKAGE).parts[0] not in ("upstream", "sandbox")]
    assert not {(path.name, name) for path in others for name in imports(path) if below(name, ONLY_UPSTREAM)}


@pytest.mark.parametrize(
    ("code", "never"),
    [
        ("import scribe_router", HEAVY),
        ("from scribe_router import Router", ("litellm", "openai", "fastapi")),
        ("from scribe_router.config.load import load_config", HEAVY),
        ("import scribe_router.plan, scribe_router.explain, scribe_router.cli", HEAVY),
        ("import scribe_router.server.boot", ("litellm", "openai")),
    ],
)
def test_what_an_import_brings_in(code: str, never: tuple[str, ...]) -> None:
    script = f"{code}\nimport sys\nprint(*[name for name in {never!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.strip() == ""


def test_nothing_is_left_open_ended() -> None:
    words = ("TODO", "FIXME", "XXX", "NotImplementedError", "unittest.mock")
    files = [*modules("."), *Path(__file__).parent.rglob("*.py")]
    left = {(path.name, word) for path in files if path != Path(__file__) for word in words if word in path.read_text()}
    assert not left
