"""Text completions and fill-in-the-middle, from OpenAI's client and from Python, to hosts of three kinds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest

from scribe_router import CallOptions, Router
from scribe_router.errors import BudgetExceeded, InvalidRequest, ModelNotFound
from scribe_router.sandbox import Sandbox, running_sandbox
from scribe_router.upstream.litellm_lane import warm_up
from tests.support.served import served
from tests.support.yaml_text import RouterFrom, registry_from

here = pytest.mark.asyncio(loop_scope="session")

# Tokens cost one and two millionths of a dollar; ROW of the sandbox's model that says `word ` so many times.
ROW = """
  - model_name: {name}
    litellm_params: {{model: {model}, api_base: {url}/v1, api_key: k{more}}}
    model_info: {{id: {name}, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}}
"""
MODELS = {
    "fim": "codestral/codestral-echo",
    "deep": "deepseek/echo",
    "own": "hosted_vllm/echo",
    "long": "hosted_vllm/long-100",
    "cut": "codestral/codestral-echo+cut-after-1",
    "silent": "codestral/codestral-echo+no-usage",
    "failing": "codestral/codestral-echo+error-500",
    "large": "mistral/mistral-echo",
    "chat": "openai/echo",
}
FALLBACKS = "router_settings: {fallbacks: [{failing: [chat, own]}]}\n"
PATHS = {"fim": "/v1/fim/completions", "deep": "/v1/completions", "own": "/v1/completions"}
PROMPT, SUFFIX = "def add one ", "return the sum"
NO_PROMPTS: tuple[Any, ...] = (5, None, [], [1, "a"], [[]], [[True]])
ASKED: dict[str, Any] = {"prompt": PROMPT, "suffix": SUFFIX, "max_tokens": 50}
COST = "0.000012"  # of 6 tokens in and 3 out


def text_of(sandbox: Sandbox, more: str = "") -> str:
    rows = (ROW.format(name=name, model=model, url=sandbox.url, more=more) for name, model in MODELS.items())
    return f"model_list:{''.join(rows)}{FALLBACKS}"


class Proxy(NamedTuple):
    client: Any
    sandbox: Sandbox


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The official client before a proxy. Not typed: its overloads know no plain dictionaries."""
    warm_up()  # here, since the proxy would do so in a thread, beneath the filters of warnings of test after test
    folder = tmp_path_factory.mktemp("proxy")
    with running_sandbox() as sandbox:
        router = Router(registry_from(folder, text_of(sandbox), {"store": "ledger: sqlite:ledger.db"}))
        with served(router) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
            yield Proxy(client, sandbox)


@pytest.mark.parametrize("model", PATHS)
def test_plain(proxy: Proxy, model: str) -> None:
    proxy.sandbox.clear()
    reply = proxy.client.completions.with_raw_response.create(model=model, **ASKED)
    answer = reply.parse()
    assert [(each.text, each.finish_reason, each.index) for each in answer.choices] == [(PROMPT, "stop", 0)]
    assert "message" not in answer.choices[0].model_dump()
    assert (answer.object, answer.model, answer.usage.total_tokens) == ("text_completion", model, 9)
    assert reply.headers["x-scribe-cost-usd"] == COST
    [received] = proxy.sandbox.received
    assert received.path == PATHS[model]
    assert received.json == {"model": MODELS[model].partition("/")[2], **ASKED}


@pytest.mark.parametrize("usage", [True, False], ids=["with usage", "without"])
@pytest.mark.parametrize("model", PATHS)
def test_streamed(proxy: Proxy, model: str, usage: bool) -> None:
    more = {"stream_options": {"include_usage": True}} if usage else {}
    chunks = list(proxy.client.completions.create(model=model, stream=True, **ASKED, **more))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.text for choice in choices) == PROMPT
    assert len([choice for choice in choices if choice.text]) == 3
    assert choices[-1].finish_reason == "stop"
    assert not any("delta" in choice.model_dump() for choice in choices)
    assert {(chunk.object, chunk.model) for chunk in chunks} == {("text_completion", model)}
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([9] if usage else [])


def test_a_broken_stream_is_an_error(proxy: Proxy) -> None:
    with pytest.raises(openai.APIError, match="the stream was interrupted"):
        list(proxy.client.completions.create(model="cut", stream=True, **ASKED))


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"model": "chat", "prompt": "x"}, "model", "model_not_found"),
        ({"model": "large", "prompt": "x"}, "model", "model_not_found"),
        ({"model": "own"}, "prompt", "missing_field"),
        ({"model": "own", "prompt": "x", "api_base": "http://elsewhere"}, "api_base", "unknown_parameter"),
        *(({"model": "own", "prompt": each}, "prompt", "invalid_type") for each in NO_PROMPTS),
        ({"model": "own", "prompt": "x", "suffix": 5}, "suffix", "invalid_type"),
        ({"model": "own", "prompt": "x", "best_of": 0}, "best_of", "invalid_value"),
    ],
)
def test_errors_have_openais_shape(proxy: Proxy, body: dict[str, Any], param: str, code: str) -> None:
    proxy.sandbox.clear()
    with pytest.raises(openai.APIStatusError) as caught:
        proxy.client.post("/completions", body=body, cast_to=object)
    assert (caught.value.param, caught.value.code, proxy.sandbox.received) == (param, code, [])


@here
async def test_who_has_none_is_left_out_for_that_reason(router: RouterFrom, sandbox: Sandbox) -> None:
    one = router(text_of(sandbox))
    with pytest.raises(ModelNotFound, match=r"nothing can serve chat: it has no text completions \(chat\)"):
        await one.atext_completion(model="chat", prompt="x")
    with pytest.raises(ModelNotFound, match="the litellm lane was asked for, and text completions need wire"):
        await one.atext_completion(model="fim", prompt="x", options=CallOptions(lane="litellm"))
    answer = await one.atext_completion(model="failing", **ASKED)  # its first fallback is of chat alone
    assert (answer.scribe.deployment, answer.scribe.attempts, answer.choices[0].text) == ("own", 2, PROMPT)


@here
async def test_python_objects(router: RouterFrom, sandbox: Sandbox) -> None:
    one = router(text_of(sandbox))
    answer = await one.atext_completion(model="fim", **ASKED)
    assert (type(answer).__mro__[1].__name__, answer.choices[0].text) == ("TextCompletionResponse", PROMPT)
    assert (answer.usage.total_tokens, answer.scribe.cost_usd, answer.scribe.lane) == (9, COST, "wire")
    stream = await one.atext_completion(model="fim", stream=True, **ASKED)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == PROMPT
    assert stream.scribe.cost_usd == COST
    assert (await one.atext_completion(model="silent", **ASKED)).usage is None


def test_python_that_blocks(proxy: Proxy, tmp_path: Path) -> None:
    with_ledger = {"store": "ledger: sqlite:ledger.db"}
    one = Router(registry_from(tmp_path, text_of(proxy.sandbox), with_ledger))
    assert one.text_completion(model="own", **ASKED).choices[0].text == PROMPT
    stream = one.text_completion(model="own", stream=True, **ASKED)
    assert "".join(chunk.choices[0].text for chunk in stream) == PROMPT
    one.close()


@here
async def test_what_is_sent(router: RouterFrom, sandbox: Sandbox) -> None:
    """The operator's words for chat do not travel, nor what Mistral's host refuses; a cap does, always."""
    one = router(text_of(sandbox, ", temperature: 0.3, reasoning_effort: high, parallel_tool_calls: true"))
    answer = await one.atext_completion(
        model="fim", prompt="x", seed=1, user="u", stop=["a"], metadata={"task": "code"}
    )
    sent = {"model": "codestral-echo", "prompt": "x", "max_tokens": 4096, "temperature": 0.3, "random_seed": 1}
    assert sandbox.received[-1].json == {**sent, "stop": ["a"]}
    assert [each.partition(" ")[0] for each in answer.scribe.warnings] == ["user"]
    assert (answer.scribe.output_cap, answer.scribe.cap_origin) == (4096, "default")


def limited(router: RouterFrom, sandbox: Sandbox, usd: str, when_short: str = "reject") -> Router:
    limit = f"{{id: day, scope: user, window: day, usd: {usd}, when_short: {when_short}}}"
    return router(text_of(sandbox), {"budgets": f"minimum_useful_output: 8\nlimits: [{limit}]"})


@here
@pytest.mark.parametrize(
    ("body", "answers"),
    [
        ({"prompt": "a b"}, 1),
        ({"prompt": ["a b", "c d"]}, 2),
        ({"prompt": "a b", "n": 3}, 3),
        ({"prompt": ["a b", "c d"], "n": 2}, 4),
        ({"prompt": [1, 2]}, 1),
        ({"prompt": [[1], [2]]}, 2),
        ({"prompt": "a b", "best_of": 5}, 5),
        ({"prompt": "a b", "best_of": 2, "n": 2}, 2),
    ],
)
async def test_the_bound_holds_every_answer(
    router: RouterFrom, sandbox: Sandbox, body: dict[str, Any], answers: int
) -> None:
    one = limited(router, sandbox, "1")
    answer = await one.atext_completion(model="long", max_tokens=100, **body)
    [row] = await one.ledger.rows()
    assert row["bound"] >= answers * 100 * 2_000 + 256_000
    assert row["bound"] < (answers + 1) * 100 * 2_000 + 512_000
    assert answer.scribe.cost <= row["bound"]
    assert answer.scribe.mark == "computed"


@here
async def test_a_limit_counts_prompt_and_suffix(router: RouterFrom, sandbox: Sandbox) -> None:
    one = limited(router, sandbox, "0.01")
    bodies: list[dict[str, Any]] = [{"prompt": "x " * 5000}, {"prompt": "x", "suffix": "y " * 5000}]
    for long in bodies:
        with pytest.raises(BudgetExceeded, match="limit day"):
            await one.atext_completion(model="own", max_tokens=8, **long)
    assert sandbox.received == []
    await one.atext_completion(model="own", max_tokens=8, prompt="x")


@here
async def test_a_short_limit_clamps(router: RouterFrom, sandbox: Sandbox) -> None:
    one = limited(router, sandbox, "0.004", "clamp")
    answer = await one.atext_completion(model="long", prompt="x", max_tokens=5000)
    assert answer.scribe.cap_origin == "clamped"
    assert sandbox.received[0].json["max_tokens"] == answer.scribe.output_cap < 5000
    assert answer.scribe.cost <= 4_000_000


@here
async def test_what_has_no_known_price_is_refused_below_a_limit(router: RouterFrom, sandbox: Sandbox) -> None:
    limit = "limits: [{id: day, scope: user, window: day, usd: 1, unknown_parameters: refuse}]"
    one = router(text_of(sandbox), {"budgets": limit})
    await one.atext_completion(model="own", prompt="x", top_k=3, min_tokens=1, echo=False, logprobs=1, best_of=1)
    with pytest.raises(InvalidRequest, match="it is not known what strange costs"):
        await one.atext_completion(model="own", prompt="x", strange=1)
