"""The journal: one line for each exchange, enough to plan it again, and not a word of what was said."""

import json
import logging
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from scribe_router import RequestError, Router
from scribe_router.journal import Journal
from scribe_router.plan import plan
from scribe_router.record import Record
from scribe_router.registry import Registry
from scribe_router.sandbox import Sandbox
from tests.support.yaml_text import registry_from

CONFIG = """
model_list:
  - model_name: first
    litellm_params: {model: openai/error-500, api_base: os.environ/BASE, api_key: sk-very-secret, weight: 3}
    model_info: {id: first-a, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
  - model_name: first
    litellm_params: {model: openai/error-429, api_base: os.environ/BASE, api_key: sk-very-secret}
    model_info: {id: first-b, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
  - model_name: second
    litellm_params: {model: openai/echo, api_base: os.environ/BASE, api_key: sk-very-secret}
    model_info: {id: second, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
router_settings: {fallbacks: [{first: [second]}], model_group_alias: {name: first}}
"""
SAID = "unspeakable words of a client"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


@pytest.fixture
def registry(tmp_path: Path, sandbox: Sandbox) -> Registry:
    policies = {"store": f"ledger: sqlite:{tmp_path}/l.sqlite3\njournal: {tmp_path}/j.jsonl", "breaker": "failures: 12"}
    policies["routing"] = "strategies: {name: round_robin}"
    return registry_from(tmp_path, CONFIG, policies, {"BASE": sandbox.url + "/v1"})


def lines(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "j.jsonl").read_text().splitlines()]


async def test_a_line_says_all_but_the_words(registry: Registry, tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": SAID, "parameters": {"type": "object"}}}]
    async with Router(registry) as router:
        await router.acompletion(model="name", messages=[{"role": "user", "content": SAID}], tools=tools, user=SAID)
        with pytest.raises(RequestError):
            await router.acompletion(model="nobody", messages=[{"role": "user", "content": SAID}])
    text = (tmp_path / "j.jsonl").read_text()
    assert SAID not in text
    assert "sk-very-secret" not in text
    answered, refused = lines(tmp_path)
    assert answered["messages"] == [{"role": "user", "length": len(SAID)}]
    assert [attempt["deployment"] for attempt in answered["attempts"]][-1] == "second"
    assert {attempt["mark"] for attempt in answered["attempts"][:-1]} == {"zero"}
    assert (answered["outcome"], refused["outcome"]) == ("answered", "model_not_found")
    assert float(answered["cost_usd"]) > 0


async def test_a_line_is_enough_to_plan_again(registry: Registry, tmp_path: Path) -> None:
    async with Router(registry, randomness=random.Random(7)) as router:
        for _ in range(20):
            await router.acompletion(model="name", messages=[{"role": "user", "content": SAID}])
    records, orders = [Record.read(line) for line in lines(tmp_path)], set()
    for each in records:
        assert each.plan is not None
        again = plan(each.plan.facts, registry, each.plan.snapshot)
        assert again == each.plan
        planned = [candidate.deployment for candidate in again.candidates]
        orders.add(tuple(planned))
        attempted = [attempt.deployment for attempt in each.attempts]
        assert attempted == [deployment for deployment in planned if deployment in attempted]
        assert each.version == registry.version
    assert len(orders) == 3, "neither chance nor circuits"
    assert {left.rule for each in records if each.plan for left in each.plan.excluded} == {"circuit"}


async def test_a_journal_that_cannot_be_written_fails_no_request(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Router(registry) as router:
        router.journal = Journal(tmp_path / "l.sqlite3" / "not-a-folder" / "j.jsonl")
        for _ in range(3):
            await router.acompletion(model="second", messages=[{"role": "user", "content": SAID}])
        assert router.journal.lost == 3
    said = [record for record in caplog.records if record.name == "scribe_router.journal"]
    assert [record.levelno for record in said] == [logging.ERROR]
