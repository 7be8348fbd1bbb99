"""Who is let in, and what each may."""

from typing import Any

import pytest
from pydantic import ValidationError

from scribe_router.policies.access import AccessPolicy, administers, authenticate, by_operator, may_use, not_allowed
from scribe_router.principals import EVERYTHING, Grant, Principal
from tests.policies.test_keys import Watched

KEY = "k" * 10 + "0123456789"
POLICY = AccessPolicy.model_validate({"master_key": KEY})
LOCAL, MASTER = Principal("local", "local", grant=EVERYTHING), Principal("master", "master", grant=EVERYTHING)


@pytest.mark.parametrize(
    ("policy", "bearer", "loopback", "expected"),
    [
        (None, None, True, LOCAL),
        (None, "anything", True, LOCAL),
        (None, None, False, None),
        (None, KEY, False, None),
        (POLICY, KEY, False, MASTER),
        (POLICY, KEY, True, MASTER),
        (POLICY, None, True, None),
        (POLICY, "", True, None),
        (POLICY, KEY[:-1], False, None),
        (POLICY, KEY + "0", False, None),
        (POLICY, "ключ", False, None),
    ],
)
def test_principal(policy: AccessPolicy | None, bearer: str | None, loopback: bool, expected: Principal | None) -> None:
    assert authenticate(policy, bearer, loopback=loopback) == expected


@pytest.mark.parametrize("name", ["master_key", "pepper"])
@pytest.mark.parametrize(
    "key",
    ["", "short", "sk-1234", "changeme", "k" * 19, "sk-1234567890abcdefghijklm", "your-master-key-goes-here-now",
     "MyExampleKey-0123456789abcdef", "sk-scribe-0123456789abcdef-x", "please-change-me-please-change-me"],
)  # fmt: skip
def test_a_weak_key_is_refused(name: str, key: str) -> None:
    with pytest.raises(ValidationError, match="too weak"):
        AccessPolicy.model_validate({"master_key": KEY, name: key})


def test_the_keys_are_not_shown() -> None:
    pepper = "p" * 10 + "0123456789"
    policy = AccessPolicy.model_validate({"master_key": KEY, "pepper": pepper})
    assert KEY not in repr(policy)
    assert pepper not in repr(policy)


def test_what_keys_are_hashed_with() -> None:
    peppered = AccessPolicy.model_validate({"master_key": KEY, "pepper": "p" * 20})
    rekeyed = AccessPolicy.model_validate({"master_key": "z" * 20, "pepper": "p" * 20})
    assert peppered.hash_key() == rekeyed.hash_key() != POLICY.hash_key()
    assert len(POLICY.hash_key()) == 32
    assert POLICY.hash_key() == AccessPolicy.model_validate({"master_key": KEY}).hash_key()


@pytest.mark.parametrize(
    ("tools", "field"),
    [
        ([{"type": "mcp", "server_label": "files"}], "tools"),
        ([{"type": "function", "function": {"name": "mcp"}}, {"type": "mcp"}], "tools"),
        ([{"type": "function", "function": {"name": "mcp"}}], None),
        (["mcp"], None),
        ("mcp", None),
        (None, None),
    ],
)
def test_a_server_of_tools_is_another_word_for_mcp_tools(tools: Any, field: str | None) -> None:
    assert not_allowed(Grant(fields=("reasoning_effort",)), {"tools": tools}) == field
    assert not_allowed(Grant(fields=("mcp_tools",)), {"tools": tools}) is None


class Bearer(str):
    """A client's key, which may be compared only in a way whose time tells nothing."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return Watched(super().encode(encoding, errors))

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared letter by letter, so its time tells how much is right")

    __hash__ = str.__hash__


def test_the_time_of_a_comparison_tells_nothing() -> None:
    assert authenticate(POLICY, Bearer(KEY), loopback=False) == MASTER
    assert authenticate(POLICY, Bearer("x" * 20), loopback=False) is None


@pytest.mark.parametrize(
    ("models", "names", "expected"),
    [
        ((), ("a",), False),
        (("a",), ("a",), True),
        (("a",), ("b", "a"), True),
        (("a",), ("ab",), False),
        (("a",), ("A",), False),
        (("*",), ("anything/at:all",), True),
        (("openai/*",), ("openai/gpt-6",), True),
        (("openai/*",), ("openai/",), True),
        (("openai/*",), ("openai",), False),
        (("openai/*",), ("xopenai/gpt-6",), False),
        (("*-mini",), ("gpt-6-mini",), True),
        (("gpt-*-mini",), ("gpt-6-mini",), True),
        (("gpt-*-mini",), ("gpt-mini",), False),
        (("aba*aba",), ("aba",), False),
        (("a.c",), ("abc",), False),
        (("[ab]",), ("a",), False),
        (("x", "b*"), ("bob",), True),
    ],
)
def test_which_models(models: tuple[str, ...], names: tuple[str, ...], expected: bool) -> None:
    assert may_use(models, *names) is expected


FEW = Grant(models=("*",), fields=("reasoning_effort", "metadata.tags", "user"))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, None),
        ({"model": "m", "messages": [], "temperature": 1, "max_tokens": 5, "tools": [{}]}, None),
        ({"reasoning_effort": "low"}, None),
        ({"reasoning": {"effort": "low"}, "thinking": {}}, None),
        ({"user": "ann"}, None),
        ({"user": ""}, None),
        ({"optimize_for": "cost"}, "optimize_for"),
        ({"optimize_for": None}, None),
        ({"fallback_enabled": False}, "fallback_enabled"),
        ({"provider": "openai"}, "provider"),
        ({"provider": {"order": ["x"]}}, "provider"),
        ({"models": ["another"]}, "models"),
        ({"thinking_budget": 0}, "thinking_budget"),
        ({"hide_thinking": True}, "hide_thinking"),
        ({"enable_search": False}, "enable_search"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"mcp_tools": []}, "mcp_tools"),
        ({"metadata": {"tags": ["a"], "mine": 1}}, None),
        ({"metadata": {"task": "code"}}, "metadata.task"),
        ({"metadata": {"experiment_unit": "u"}}, "metadata.experiment_unit"),
        ({"metadata": {"regions": ["eu"]}}, "metadata.regions"),
        ({"metadata": {"zero_retention": True}}, "metadata.zero_retention"),
        ({"metadata": "task"}, None),
    ],
)
def test_which_fields(body: dict[str, Any], field: str | None) -> None:
    assert not_allowed(FEW, body) == field
    assert not_allowed(LOCAL.grant, body) is None


def test_without_a_word_nothing_is_allowed() -> None:
    nobody = Principal("x", "y").grant
    assert (nobody.models, nobody.fields, nobody.tools, nobody.mcp_groups) == ((), (), (), ())
    assert not_allowed(nobody, {"reasoning_effort": "low"}) == "reasoning_effort"
    assert not administers(Principal("master", "master"))


def test_what_the_operator_chose_may_be_any_model_and_nothing_else() -> None:
    one = Principal("k", "k", grant=Grant(models=("a",), fields=("user",), regions=("eu",)))
    assert by_operator(one).grant == Grant(models=("*",), fields=("user",), regions=("eu",))
