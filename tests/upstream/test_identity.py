"""Headers that say who the operator is: where they arrive, on both lanes, and where they never do."""

from typing import Any

import pytest

from scribe_router.exchange import Call
from scribe_router.sandbox import Sandbox
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
ENTRY = """
model_list:
  - model_name: m
    litellm_params: {{model: {model}, api_key: "{key}"{params}}}
    model_info: {{lane: {lane}, input_cost_per_token: 0, output_cost_per_token: 0{info}}}
"""
WHO = {"OPENAI_ORGANIZATION": "org-1", "OPENAI_PROJECT": "proj-1"}
NAMES = ("openai-organization", "openai-project", "anthropic-version")
lanes = pytest.mark.parametrize("lane", ["wire", "litellm"])


async def told(
    router: RouterFrom,
    sandbox: Sandbox,
    model: str,
    lane: str,
    environment: dict[str, str],
    params: str = "",
    info: str = "",
) -> dict[str, str]:
    """The headers about the operator that arrived; those without a value say nothing."""
    key = f"{model}-{lane}-{params}-{info}"  # LiteLLM keeps a client for each key, with what it once read
    text = ENTRY.format(model=model, lane=lane, key=key.replace('"', ""), params=params, info=info)
    await router(text, {}, environment).serve(
        Call("chat", {"model": "m", "messages": [{"role": "user", "content": "a"}]})
    )
    headers = sandbox.received[-1].headers
    assert all(len(headers.getall(name, [])) <= 1 for name in NAMES)
    return {name: headers[name] for name in NAMES if headers.get(name)}


@lanes
async def test_openai_is_told_who_asks(router: RouterFrom, sandbox: Sandbox, lane: str) -> None:
    base = {"OPENAI_API_BASE": f"{sandbox.url}/v1"}
    both = {"openai-organization": "org-1", "openai-project": "proj-1"}
    assert await told(router, sandbox, "openai/gpt-4.1", lane, {**base, **WHO}) == both
    assert await told(router, sandbox, "openai/gpt-4.1", lane, {**base, "OPENAI_PROJECT": ""}, ", user: a") == {}
    own = ', organization: org-2, extra_headers: {OPENAI-PROJECT: "proj-2"}'
    expected = {"openai-organization": "org-2", "openai-project": "proj-2"}
    assert await told(router, sandbox, "openai/gpt-4.1", lane, {**base, **WHO}, own) == expected


@lanes
@pytest.mark.parametrize(
    "model",
    [
        *("openai/gpt-4.1", "moonshot/kimi-k3", "dashscope/qwen3-max", "codestral/x", "mistral/mistral-small-latest"),
        *("openrouter/a/b", "deepseek/x", "hosted_vllm/x", "minimax/minimax-m3"),
    ],
)
async def test_nobody_else_is(
    router: RouterFrom, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, model: str, lane: str
) -> None:
    """Not even where LiteLLM, or the client that it uses, would read the environment by itself."""
    for name, value in {**WHO, "OPENAI_ORG_ID": "org-3", "OPENAI_PROJECT_ID": "proj-3"}.items():
        monkeypatch.setenv(name, value)
    base = f', api_base: "{sandbox.url}/v1"'
    assert await told(router, sandbox, model, lane, WHO, base) == {}


@lanes
async def test_a_proxy_in_front_of_openai_is_told_where_the_region_says_so(
    router: RouterFrom, sandbox: Sandbox, lane: str
) -> None:
    base, info = f', api_base: "{sandbox.url}/v1"', ", region: global"
    assert (await told(router, sandbox, "openai/gpt-4.1", lane, WHO, base, info))["openai-organization"] == "org-1"


@pytest.mark.parametrize(
    ("environment", "params", "version"),
    [
        ({}, "", "2023-06-01"),
        ({"ANTHROPIC_API_VERSION": ""}, "", "2023-06-01"),
        ({"ANTHROPIC_API_VERSION": "2027-01-01"}, "", "2027-01-01"),
        ({"ANTHROPIC_API_VERSION": "2027-01-01"}, ', extra_headers: {Anthropic-Version: "2026-02-02"}', "2026-02-02"),
    ],
)
async def test_the_version_of_anthropics_api(
    router: RouterFrom, sandbox: Sandbox, environment: dict[str, Any], params: str, version: str
) -> None:
    base = f', api_base: "{sandbox.url}/anthropic"{params}'
    found = await told(router, sandbox, "anthropic/claude-opus-4-8", "litellm", {**environment, **WHO}, base)
    assert found == {"anthropic-version": version}
