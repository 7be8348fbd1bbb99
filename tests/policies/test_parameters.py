"""What a client may send: required fields, kinds, ranges, and names that are the operator's."""

from typing import Any

import pytest

from scribe_router.errors import InvalidRequest
from scribe_router.exchange import Api
from scribe_router.policies.parameters import API, OURS, PROVIDERS_OWN, admit, refused

ASK = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("chat", ASK),
        ("chat", {**ASK, "max_tokens": 1, "n": 128, "stream": True, "stream_options": {"include_usage": True}}),
        ("chat", {**ASK, "max_completion_tokens": 100_000_000, "n": None, "stream_options": None}),
        ("chat", {**ASK, "top_k": 5, "provider": {"order": ["a"]}, "what_nobody_knows": 1, "fallback_enabled": False}),
        ("completions", {"prompt": "hello", "suffix": "b", "n": 2, "best_of": 3, "echo": True, "logprobs": 2}),
        ("completions", {"prompt": ["a", "b"], "top_k": 5}),
        ("completions", {"prompt": [[1, 2], [3]]}),
        ("embeddings", {"input": "hello"}),
        ("embeddings", {"input": ["hello"], "model": "m", "input_type": "query"}),
    ],
)
def test_admitted(api: Api, body: dict[str, Any]) -> None:
    admit(api, body)


@pytest.mark.parametrize(
    ("api", "body", "code", "param"),
    [
        ("chat", {}, "missing_field", "messages"),
        ("embeddings", {}, "missing_field", "input"),
        ("chat", {"messages": []}, "invalid_type", "messages"),
        ("chat", {"messages": "hello"}, "invalid_type", "messages"),
        ("chat", {"messages": ["hello"]}, "invalid_type", "messages[0]"),
        ("chat", {"messages": [*ASK["messages"], {"content": "x"}]}, "invalid_type", "messages[1]"),
        ("chat", {**ASK, "model": 5}, "invalid_type", "model"),
        ("chat", {**ASK, "stream": "yes"}, "invalid_type", "stream"),
        ("chat", {**ASK, "stream_options": "usage"}, "invalid_type", "stream_options"),
        ("chat", {**ASK, "fallback_enabled": 0}, "invalid_type", "fallback_enabled"),
        *(
            ("chat", {**ASK, name: value}, "invalid_value", name)
            for name in ("max_tokens", "max_completion_tokens", "n")
            for value in (0, -1, 1.5, "5", True, 10**12)
        ),
        ("chat", {**ASK, "n": 129}, "invalid_value", "n"),
        ("chat", {**ASK, "api_key": "k"}, "unknown_parameter", "api_key"),
        ("chat", {**ASK, "base_url": "http://x"}, "unknown_parameter", "base_url"),
        ("chat", {**ASK, "_private": 1}, "unknown_parameter", "_private"),
        ("embeddings", {"input": "x", "api_base": "http://x"}, "unknown_parameter", "api_base"),
    ],
)
def test_refused(api: Api, body: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        admit(api, body)
    assert (caught.value.code, caught.value.param, caught.value.status) == (code, param, 400)
    assert param.partition("[")[0] in caught.value.message


@pytest.mark.parametrize("api", API)
def test_what_is_listed_is_never_refused(api: Api) -> None:
    assert [name for name in API[api] | OURS | PROVIDERS_OWN[api] if refused(api, name)] == []
