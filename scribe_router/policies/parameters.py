"""Which fields of a request are the client's, which are ours, and which belong to the operator.

LiteLLM interprets several hundred keyword arguments; on a pinned call a client's `base_url` received the
deployment's real key. So the boundary is an allow-list: only the API's own parameters become keyword arguments, what
else a provider may know travels in the body, and a name that LiteLLM would interpret is refused by name.
"""

from collections.abc import Collection, Iterable, Mapping
from math import isfinite
from typing import Any, get_args

from scribe_router.errors import InvalidRequest
from scribe_router.exchange import Api, OptimizeFor
from scribe_router.litellm_names import INTERPRETED

API: Mapping[Api, frozenset[str]] = {
    "chat": frozenset(
        "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages "
        "metadata modalities model n parallel_tool_calls prediction presence_penalty prompt_cache_key "
        "prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier stop store stream "
        "stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options".split()
    ),
    "completions": frozenset(
        "best_of echo frequency_penalty logit_bias logprobs max_tokens metadata model n presence_penalty prompt seed "
        "stop stream stream_options suffix temperature top_p user".split()
    ),
    "embeddings": frozenset("dimensions encoding_format input model user".split()),
}

OURS = frozenset("enable_search fallback_enabled hide_thinking mcp_tools optimize_for thinking_budget".split())
# Names that providers know, that clients do send, and that LiteLLM would interpret as well: body only.
PROVIDERS_OWN: Mapping[Api, frozenset[str]] = {
    "chat": frozenset("cache_control context_management models prompt_cache_options reasoning thinking top_k".split()),
    "completions": frozenset({"top_k"}),
    "embeddings": frozenset({"input_type"}),
}

# Anthropic's own names that LiteLLM looks at, as keyword arguments: some want a header, too.
ANTHROPIC_OWN = frozenset("cache_control context_management inference_geo output_config speed thinking top_k".split())

# What leaves the price of a token and the number of tokens as the bound has them: sampling, formats, labels.
FREE: Mapping[Api, frozenset[str]] = {
    "chat": frozenset(
        "chat_template_kwargs enable_thinking guided_choice guided_grammar guided_json guided_regex "
        "ignore_eos include_reasoning keep_alive length_penalty min_p min_tokens prompt_mode random_seed "
        "reasoning_split repetition_penalty safe_prompt skip_special_tokens stop_token_ids structured_outputs system "
        "think thinking_budget top_a typical_p usage".split()
    ),
    "completions": frozenset(
        "guided_choice guided_grammar guided_json guided_regex ignore_eos length_penalty min_p min_tokens "
        "random_seed repetition_penalty skip_special_tokens stop_token_ids structured_outputs".split()
    ),
    "embeddings": frozenset({"truncate", "output_dtype", "output_dimension"}),
}

_KNOWN: Mapping[Api, frozenset[str]] = {
    api: API[api] | OURS | PROVIDERS_OWN[api] | FREE[api] | ANTHROPIC_OWN for api in API
}

# Far above what any provider takes; an amount of money that follows from more would be no number that a ledger holds.
_MOST: Mapping[str, int] = {"max_tokens": 100_000_000, "max_completion_tokens": 100_000_000, "n": 128, "best_of": 128}
# Far below what Python, or LiteLLM's translation, can follow; schemas of real tools have some twenty levels.
DEEPEST = 200
MOST_MESSAGES = 10_000
_REQUIRED: Mapping[Api, str] = {"chat": "messages", "completions": "prompt", "embeddings": "input"}


def admit(api: Api, body: Mapping[str, Any]) -> None:
    """Raises `InvalidRequest`, naming the field, for what only the operator may set and for what is missing."""
    for name in body:
        if refused(api, name):
            raise InvalidRequest(
                f"{name} is set by the operator of this router, not in a request", code="unknown_parameter", param=name
            )
    required = _REQUIRED[api]
    if required not in body:
        raise InvalidRequest(f"{required} is missing", code="missing_field", param=required)
    _flat(body)
    _expect(body, "model", str, "a name")
    _expect(body, "stream", bool, "true or false")
    _expect(body, "fallback_enabled", bool, "true or false")
    _expect(body, "hide_thinking", bool, "true or false")
    if body.get("optimize_for") not in (None, *get_args(OptimizeFor)):
        one_of = f"optimize_for is one of {', '.join(get_args(OptimizeFor))}"
        raise InvalidRequest(one_of, code="invalid_value", param="optimize_for")
    _expect(body, "enable_search", bool, "true or false")
    if api == "chat":
        _messages(body["messages"])
        _expect(body, "tools", list, "a list")
        _expect(body, "functions", list, "a list")
    if api == "completions":
        _prompt(body["prompt"])
        _expect(body, "suffix", str, "text")
    if api != "embeddings":
        _expect(body, "stream_options", Mapping, "an object")
        for name, most in _MOST.items():
            _count(body, name, most)


def refused(api: Api, name: str) -> bool:
    """Whether a client may not send this name: LiteLLM would interpret it, or it is not a plain name at all."""
    if name in API[api] or name in OURS or name in PROVIDERS_OWN[api]:
        return False
    return name in INTERPRETED or name.startswith("_")


def known_elsewhere(api: Api, name: str) -> bool:
    """Whether a name that an operator wrote belongs to chat, and means nothing in this API."""
    if name in API[api] or name in FREE[api] or name in PROVIDERS_OWN[api] or name == "max_completion_tokens":
        return False
    return name in API["chat"] or name in OURS


def unlisted(api: Api, body: Mapping[str, Any], listed: Collection[str]) -> str | None:
    """The first parameter of a request whose effect on its cost nobody knows, or None. `listed` are the provider's."""
    return next((name for name in body if name not in _KNOWN[api] and name not in listed), None)


def _prompt(prompt: Any) -> None:
    each = prompt if isinstance(prompt, list) and prompt else [prompt]
    texts = all(isinstance(one, str) for one in each)
    arrays = all(isinstance(one, list) and one and _tokens(one) for one in each)
    if not (texts or arrays or (isinstance(prompt, list) and prompt and _tokens(prompt))):
        text = "prompt must be text, a list of texts, or arrays of token numbers"
        raise InvalidRequest(text, code="invalid_type", param="prompt")


def _tokens(given: list[Any]) -> bool:
    return all(isinstance(one, int) and not isinstance(one, bool) for one in given)


def _messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages must be a list with at least one message", code="invalid_type", param="messages")
    if len(messages) > MOST_MESSAGES:
        text = f"messages has {len(messages)} of them, at most {MOST_MESSAGES} are taken"
        raise InvalidRequest(text, code="invalid_value", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            place = f"messages[{index}]"
            raise InvalidRequest(f"{place} must be an object with a role", code="invalid_type", param=place)
        if not isinstance(message.get("content"), str | list | None):
            place = f"messages[{index}].content"
            raise InvalidRequest(f"{place} must be text or a list of parts", code="invalid_type", param=place)


def _flat(body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        if isinstance(value, float) and not isfinite(value):  # JSON has no word for it
            raise InvalidRequest(f"{name} must be a number", code="invalid_value", param=name)
        level, depth = [value], 0
        while level := [each for outer in level for each in _inside(outer) if isinstance(each, dict | list)]:
            depth += 1
            if depth >= DEEPEST:
                text = f"{name} is nested more than {DEEPEST} levels deep"
                raise InvalidRequest(text, code="invalid_value", param=name)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _expect(body: Mapping[str, Any], name: str, kind: type, words: str) -> None:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise InvalidRequest(f"{name} must be {words}", code="invalid_type", param=name)


def _count(body: Mapping[str, Any], name: str, most: int) -> None:
    value = body.get(name)
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidRequest(f"{name} must be a whole number from 1 to {most}", code="invalid_value", param=name)
