"""What is kept, under which key, for whom; and a plain answer as a stream."""

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from scribe_router.exchange import Attempt, Call, CallOptions, Exchange, Usage
from scribe_router.facts import Facts
from scribe_router.plan import Candidate, Plan, Snapshot
from scribe_router.policies.cache import CachePolicy, as_chunks, lasting
from scribe_router.principals import LOCAL, Principal

ON = CachePolicy(enabled=True)
ANN = Principal("key", "ann", "red")
MESSAGES = [{"role": "user", "content": "hello"}]
FUNCTION = {"type": "function", "function": {"name": "f"}}


def key(
    policy: CachePolicy = ON, who: Principal = ANN, version: str = "v", options: CallOptions | None = None, **more: Any
) -> str | None:
    body = {"model": "m", "messages": MESSAGES, **more}
    return policy.key(Call("chat", body, options or CallOptions()), who, version)


@pytest.mark.parametrize(
    ("enabled", "on"), [(True, True), (False, False), ((False, True), True), ((False, False), False), ((), False)]
)
def test_one_true_is_enough(enabled: Any, *, on: bool) -> None:
    assert CachePolicy(enabled=enabled).on is on


def test_without_a_file_nothing_is_kept() -> None:
    assert key(CachePolicy()) is None


def test_a_key_is_a_hash() -> None:
    found = key(messages=[{"role": "user", "content": "a secret"}])
    assert found is not None
    assert len(found) == 64
    assert set(found) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "more",
    [
        {"model": "n"},
        {"messages": [*MESSAGES, *MESSAGES]},
        {"max_tokens": 5},
        {"seed": 1},
        {"hide_thinking": True},
        {"reasoning_effort": "high"},
        {"fallback_enabled": False},
        {"tools": [FUNCTION]},
        {"user": "bob"},
        {"metadata": {"task": "math"}},
        {"unknown_to_us": 1},
        {"version": "w"},
        {"who": Principal("other", "ann", "red")},
        {"who": Principal("key", "bob", "red")},
        {"who": Principal("key", "ann", "blue")},
        {"options": CallOptions(provider="openai")},
        {"options": CallOptions(lane="litellm")},
        {"stream_options": {"include_obfuscation": False}},
    ],
    ids=lambda more: next(iter(more)),
)
def test_another_request_has_another_key(more: dict[str, Any]) -> None:
    assert None not in (key(), key(**more))
    assert key(**more) != key()


@pytest.mark.parametrize(
    "more",
    [
        {"stream": True},
        {"stream_options": {"include_usage": True}},
        {"options": CallOptions(timeout=1.0)},
        {"options": CallOptions(cache="no-cache")},
    ],
)
def test_the_same_answer_has_the_same_key(more: dict[str, Any]) -> None:
    assert key(**more) == key()


def test_the_order_of_fields_does_not_count() -> None:
    one = ON.key(Call("chat", {"model": "m", "messages": MESSAGES}), ANN, "v")
    assert one == ON.key(Call("chat", {"messages": MESSAGES, "model": "m"}), ANN, "v")


def test_an_api_is_part_of_the_key() -> None:
    body = {"model": "m", "input": "x", "messages": MESSAGES}
    assert ON.key(Call("chat", body), ANN, "v") != ON.key(Call("embeddings", body), ANN, "v")


@pytest.mark.parametrize(
    "more",
    [
        {"store": True},
        {"web_search_options": {"search_context_size": "low"}},
        {"enable_search": True},
        {"plugins": [{"id": "web"}]},
        {"mcp_tools": ["files"]},
        {"tools": [FUNCTION, {"type": "web_search"}]},
        {"tools": ["odd"]},
        {"temperature": 0.7},
        {"temperature": "hot"},
        {"options": CallOptions(cache="no-store")},
        {"messages": [{"role": "user", "content": b"bytes"}]},
        {"messages": [{"role": "user", 1: "a", "1": "b"}]},
    ],
    ids=str,
)
def test_what_is_never_kept(more: dict[str, Any]) -> None:
    assert key(**more) is None


@pytest.mark.parametrize("more", [{"store": False}, {"tools": [{"type": "custom"}]}, {"temperature": 0}])
def test_what_is_kept(more: dict[str, Any]) -> None:
    assert key(**more) is not None


def test_half_a_letter_has_a_key() -> None:
    assert key(messages=[{"role": "user", "content": "\ud83d"}]) is not None


@pytest.mark.parametrize("name", ["stream_options", "tools", "temperature", "store", "user"])
@pytest.mark.parametrize("value", [5, "x", [1], {"a": [1]}, None, True])
def test_strange_embeddings_have_a_key_or_none(name: str, value: Any) -> None:
    body = {"model": "m", "input": "x", name: value}
    found = ON.key(Call("embeddings", body), ANN, "v")
    assert found is None or len(found) == 64


def test_samples_are_kept_where_yaml_says_so() -> None:
    policy = CachePolicy(enabled=True, sampled=True)
    assert key(policy, temperature=0.7) not in (None, key(policy, temperature=0.8))


ANNS = (ANN, Principal("key", "bob", "red"))
TEAMLESS = (Principal("key", "ann"), Principal("key", "bob"))


@pytest.mark.parametrize(
    ("share", "pair", "same"),
    [
        ("principal", ANNS, False),
        ("team", ANNS, True),
        ("team", (ANN, Principal("key", "ann", "blue")), False),
        ("team", TEAMLESS, False),
        ("all", TEAMLESS, True),
        ("all", (ANN, Principal("other", "x", "y")), True),
    ],
)
def test_who_shares(share: Any, pair: tuple[Principal, Principal], *, same: bool) -> None:
    policy = CachePolicy(enabled=True, share=share)
    assert (key(policy, pair[0]) == key(policy, pair[1])) is same


def test_a_name_in_the_request_does_not_keep_who_shares_apart() -> None:
    policy = CachePolicy(enabled=True, share="all")
    assert key(policy, user="ann", safety_identifier="1") == key(policy, user="bob", safety_identifier="2")


def test_a_team_is_no_principal_of_that_name() -> None:
    team = CachePolicy(enabled=True, share="team")
    assert key(team, Principal("k", "u", "all")) != key(CachePolicy(enabled=True, share="all"))


def test_redis_needs_an_address() -> None:
    with pytest.raises(ValidationError, match="redis: redis://HOST:PORT"):
        CachePolicy(enabled=True, store="redis")
    assert not CachePolicy(store="redis").on


def served(by: str, **more: Any) -> Exchange:
    candidates = (Candidate("a", "m", "wire", ""), Candidate("b", "n", "wire", "", fallback=True))
    plan = Plan(Facts("chat", "m"), Snapshot(date(2026, 11, 20), 0), "m", "m", candidates)
    exchange = Exchange("ex", Call("chat", {}), ANN, "v", 0.0, plan=plan)
    exchange.attempts = [Attempt("at", by, "m", "p", "wire", 0.0, "", **more)]
    return exchange


@pytest.mark.parametrize(
    ("exchange", "lasts"),
    [
        (served("a"), True),
        (served("a", cap_origin="default"), True),
        (served("a", cap_origin="clamped"), False),
        (served("a", usage=Usage(input=9, output=9)), True),
        (served("a", usage=Usage(input=9, output=9, searches=1)), False),
        (served("b"), False),
        (served("downgraded"), False),
    ],
)
def test_a_stand_ins_answer_does_not_last(exchange: Exchange, *, lasts: bool) -> None:
    assert lasting(exchange) is lasts


def test_a_plain_answer_as_a_stream() -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": calls}
    answer = {
        "id": "x",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {"index": 0, "message": message, "finish_reason": "tool_calls", "logprobs": None},
            {"index": 1, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 1},
    }
    head = {"id": "x", "object": "chat.completion.chunk", "model": "m"}
    delta = {**message, "tool_calls": [{"index": 0, **calls[0]}]}
    assert list(as_chunks(answer)) == [
        {**head, "choices": [{"index": 0, "logprobs": None, "delta": delta, "finish_reason": None}]},
        {
            **head,
            "choices": [{"index": 1, "delta": {"role": "assistant", "content": "hi"}, "finish_reason": None}],
        },
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        {**head, "choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]},
        {**head, "choices": [], "usage": {"prompt_tokens": 1}},
    ]


def test_a_text_completion_is_kept_plain_alone() -> None:
    policy = CachePolicy.model_validate({"enabled": True})
    body = {"model": "m", "prompt": "a"}
    assert policy.key(Call("completions", body), LOCAL, "1") is not None
    assert policy.key(Call("completions", {**body, "stream": True}), LOCAL, "1") is None
    assert policy.key(Call("completions", body), LOCAL, "1") != policy.key(Call("chat", body), LOCAL, "1")
