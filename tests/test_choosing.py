"""Strategies, tasks and `model: auto` as a request meets them; a strategy that a package brings. As documented."""

import asyncio
import json
import re
import sys
from pathlib import Path
from shlex import quote
from typing import Any

import pytest
from typer.testing import CliRunner

from scribe_router.cli import app
from scribe_router.errors import ConfigError, InvalidRequest
from scribe_router.exchange import Call
from scribe_router.receipt import Receipt
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from tests.support.packages import installed
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "litellm_config.yaml"
PAGE = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
(ENTRY_POINT,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
(STRATEGY,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
CONFIG = """
model_list:
  - model_name: dear
    litellm_params: {{model: openai/echo, api_base: "{url}/v1", api_key: k}}
    model_info: {{id: dear-eu, input_cost_per_token: 1.0e-5, output_cost_per_token: 5.0e-5}}
  - model_name: cheap
    litellm_params: {{model: openai/echo, api_base: "{url}/v1", api_key: k}}
    model_info: {{id: cheap-us, input_cost_per_token: 1.0e-7, output_cost_per_token: 5.0e-7}}
router_settings:
  routing_groups:
    - {{group_name: both, models: [dear, cheap], routing_strategy: priority, model_priorities: {{dear: 1, cheap: 2}}}}
    - {{group_name: frugal, models: [dear, cheap], routing_strategy: cost-based-routing}}
  model_group_alias: {{turns: both, near: both}}
"""
ROUTING = """
strategies: {turns: round_robin}
tasks: [{task: debugging, keywords: [Traceback]}]
auto: [{task: [debugging], model: dear}, {model: cheap}]
"""


async def served(router: Router, model: str, content: str = "hello", **more: object) -> str | None:
    body = {"model": model, "messages": [{"role": "user", "content": content}], **more}
    answer = await router.serve(Call("chat", body))
    return Receipt.of(answer.exchange).deployment


@pytest.fixture
def one(router: RouterFrom, sandbox: Sandbox) -> Router:
    return router(CONFIG.format(url=sandbox.url), {"routing": ROUTING})


async def test_a_wish_and_a_strategy_decide(one: Router, sandbox: Sandbox) -> None:
    assert await served(one, "both") == "dear-eu"
    assert await served(one, "both", optimize_for="cost") == "cheap-us"
    assert await served(one, "frugal") == "cheap-us"
    assert b"optimize_for" not in sandbox.received[-1].body


async def test_each_has_its_turn_and_asking_why_takes_none(one: Router) -> None:
    seen = []
    for _ in range(4):
        one.explain(model="turns", messages=[])
        seen.append(await served(one, "turns"))
    assert seen == ["cheap-us", "dear-eu"] * 2


async def test_auto_by_what_the_user_said_last(one: Router) -> None:
    assert await served(one, "auto") == "cheap-us"
    assert await served(one, "auto", "a traceBACK: help") == "dear-eu"
    assert await served(one, "auto", metadata={"task": "debugging"}) == "dear-eu"
    assert await served(one, "auto", "a traceback: help", metadata={"task": "poetry"}) == "cheap-us"
    assert "task debugging" in one.explain(model="auto", messages=[{"role": "user", "content": "Traceback"}])


async def test_a_wish_that_there_is_not(one: Router) -> None:
    with pytest.raises(InvalidRequest, match="optimize_for is one of cost, speed") as caught:
        await served(one, "both", optimize_for="luck")
    assert caught.value.param == "optimize_for"


async def test_a_strategy_of_a_package(
    router: RouterFrom, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path / "site", STRATEGY, ENTRY_POINT)
    monkeypatch.syspath_prepend(tmp_path / "site")
    one = router(CONFIG.format(url=sandbox.url), {"routing": "strategies: {near: nearest, frugal: nearest}"})
    try:
        assert await served(one, "frugal") == "dear-eu"
        assert "group frugal: here" in one.explain(model="frugal")
    finally:
        sys.modules.pop("acme_llm", None)


async def test_a_package_that_cannot_be_loaded_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path / "site", "raise OSError('no licence')", ENTRY_POINT)
    monkeypatch.syspath_prepend(tmp_path / "site")
    ran = CliRunner().invoke(app, ["check", "--config", str(SHIPPED)])
    why = "scribe_router.strategies: nearest = acme_llm:nearest cannot be loaded: OSError: no licence"
    assert (ran.exit_code, isinstance(ran.exception, SystemExit)) == (1, True)
    assert re.search(rf"policies/routing.yaml:\d+:1: {re.escape(why)}\n", ran.stderr)


async def test_the_default_model_may_be_auto(router: RouterFrom, sandbox: Sandbox) -> None:
    one = router(CONFIG.format(url=sandbox.url), {"routing": f"default_model: auto{ROUTING}"})
    assert await served(one, "") == "cheap-us"
    with pytest.raises(ConfigError, match="default_model: there is no model, group or alias auto"):
        router(CONFIG.format(url=sandbox.url), {"routing": "default_model: auto"})


async def test_the_pages_command_shows_what_it_says() -> None:
    (command,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    command = command.replace(".venv/bin/scribe-router", f"{quote(sys.executable)} -m scribe_router")
    ran = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    text = (await ran.communicate())[0].decode()
    assert "auto -> coding (group): chat, task debugging, for balance, ordered by capability" in text
    assert re.search(r"group coding: \d+\.\d of 10 \(coding 9.0, reasoning", text)


@pytest.mark.parametrize("way", [["coding"], ["--model", "coding"]])
async def test_explain_says_what_each_candidate_would_be_told(way: list[str]) -> None:
    ran = CliRunner().invoke(app, ["explain", *way, "--effort", "max", "--sandbox", "--config", str(SHIPPED)])
    told = ran.stdout.partition("told to reason")[2]
    assert 'thinking: {"type": "adaptive"}, output_config: {"effort": "max"}  max' in told
    assert 'reasoning_effort: "high"                                          high; max is not available' in told


@pytest.mark.parametrize(
    ("request_of", "told"),
    [
        ({"thinking_budget": 20_000}, "enable_thinking: true, thinking_budget: 20000 high\n"),
        ({"reasoning_effort": "high", "max_tokens": 2_000}, "high; an output cap of 2000 tokens leaves 976 to think"),
        (
            {"reasoning_effort": "high", "tools": [{}], "tool_choice": "required"},
            "enable_thinking: false none; a forced tool leaves no thinking",
        ),
    ],
)
async def test_explain_reads_the_cap_and_the_tools_of_a_request(
    tmp_path: Path, request_of: dict[str, Any], told: str
) -> None:
    body = {"messages": [{"role": "user", "content": "hello"}], **request_of}
    (tmp_path / "request.json").write_text(json.dumps(body), encoding="utf-8")
    asked = ["explain", "qwen3.8-max", "--request", str(tmp_path / "request.json"), "--sandbox"]
    ran = CliRunner().invoke(app, [*asked, "--config", str(SHIPPED)])
    assert told in re.sub(" +", " ", ran.stdout)
