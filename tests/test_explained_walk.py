"""What `explain` prints before a request is what the router then walks, as the provider's side of the sockets sees it.

Over random configurations, states (circuits, loads, turns, what is full) and requests. Each deployment has a key of its
own, by which the sandbox's log tells who was asked; the plan is read out of the printed text.
"""

import asyncio
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from scribe_router.cli import app
from scribe_router.deployment import Deployment
from scribe_router.errors import RequestError
from scribe_router.exchange import Call, Exchange, OptimizeFor
from scribe_router.explain import CONTENT, CONTEXT
from scribe_router.plan import Snapshot, plan, plan_of
from scribe_router.policies.breaker import BreakerPolicy, Circuit
from scribe_router.policies.limits import LimitsPolicy
from scribe_router.policies.retries import RetriesPolicy
from scribe_router.policies.strategies import Load
from scribe_router.principals import LOCAL
from scribe_router.record import Record
from scribe_router.registry import Registry, Store
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox, running_sandbox
from scribe_router.state import _Seen
from scribe_router.stream import AnswerStream
from tests.policies.registries import TODAY, registry
from tests.support.examples import examples
from tests.support.yaml_text import registry_from
from tests.test_plan_properties import NAMES, NOW, circuits, loads, registries, turns

BEHAVIOURS = (*["error-500"] * 4, "error-429", *["error-context", "error-content"] * 2, "error-400", "echo")
REFUSALS = {"circuit_open", "upstream_rate_limited", "rate_limit_exceeded"}
Start = tuple[Mapping[str, Circuit], Mapping[str, Load], Mapping[str, int]]


@pytest.fixture(scope="module")
def provider() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@st.composite
def configurations(draw: st.DrawFn) -> Registry:
    """A random registry; what each deployment does is in its upstream name."""
    found = draw(registries())
    limited = draw(st.lists(st.sampled_from(sorted(found.deployments)), max_size=5, unique=True))
    rule = {"id": "one", "scope": "deployment", "requests_per_minute": 1, "only": {"deployment": limited}}
    all_open: Any = draw(st.sampled_from(["probe", "probe", "fail", None]))
    failures = draw(st.sampled_from([1, 1, 2]))
    return replace(
        found,
        deployments={
            name: _acting(each, draw(st.sampled_from(BEHAVIOURS))) for name, each in found.deployments.items()
        },
        limits=LimitsPolicy.model_validate({"limits": [rule] if limited else []}),
        breaker=None if all_open is None else BreakerPolicy(all_open=all_open, failures=failures),
        retries=RetriesPolicy(),
    )


def _acting(deployment: Deployment, behaviour: str) -> Deployment:
    return replace(
        deployment,
        upstream_model=behaviour,
        litellm_model=f"openai/{behaviour}",
        wire="openai",
        lane="wire",
        litellm_lane_for_tools=False,
        api_key=f"key-of-{deployment.id}",
    )


def at(found: Registry, url: str, folder: str) -> Registry:
    moved = {name: replace(each, api_base=f"{url}/v1") for name, each in found.deployments.items()}
    return replace(found, deployments=MappingProxyType(moved), store=Store(f"sqlite:{folder}/ledger.sqlite3"))


bodies = st.fixed_dictionaries(
    {"model": st.sampled_from((*NAMES, *"ghxyghxy")), "messages": st.just([{"role": "user", "content": "hello"}])},
    optional={
        "optimize_for": st.sampled_from(get_args(OptimizeFor)),
        "fallback_enabled": st.booleans(),
        "provider": st.sampled_from(["openai", "azure"]),
        "max_tokens": st.integers(1, 9_999),
        "stream": st.booleans(),
    },
)


@dataclass
class Printed:
    """A plan as it stands in the text that `explain` printed."""

    candidates: list[str]
    context: list[str]
    content: list[str]

    @classmethod
    def read(cls, text: str) -> "Printed":
        def table(title: str) -> list[str]:
            _, found, rest = text.partition(f"\n{title}\n")
            return re.findall(r"^ +\d+\. +(\S+)", rest.partition("\n\n")[0], re.MULTILINE) if found else []

        return cls(table("tried in this order"), table(CONTEXT), table(CONTENT))

    def walked(self, found: Registry, passed: Sequence[str]) -> list[str]:
        """Whose turn comes, one after the other, if they do what their names say."""
        queue, tried = list(self.candidates), []
        while queue:
            name = queue.pop(0)
            tried.append(name)
            behaviour = "passed" if name in passed else found.deployments[name].upstream_model
            if behaviour in ("echo", "error-400"):
                break
            if behaviour in ("error-context", "error-content"):
                chain = self.context if behaviour == "error-context" else self.content
                queue = [each for each in chain if each not in tried]
        return tried


def seed_to_come(router: Router) -> int:
    chance = random.Random()
    chance.setstate(router._random.getstate())
    return chance.getrandbits(32)


async def compare(router: Router, sandbox: Sandbox, body: dict[str, Any], full: set[str]) -> None:
    """One request; `full` are the deployments that a limit has refused before."""
    try:
        text = router.explain(seed=seed_to_come(router), **body)
        told = ""
    except RequestError as error:
        text, told = "", f"{error.code}: {error.message}"
    sandbox.clear()
    exchange: Exchange
    try:
        answer = await router.serve(Call("chat", body))
        exchange = answer.exchange
        if isinstance(answer, AnswerStream):
            await answer.aclose()
    except RequestError as error:
        exchange = error.exchange
    assert bool(exchange.plan) == bool(text)
    assert text or told == f"{exchange.outcome}: {exchange.unplanned}"
    asked = [each.headers["authorization"].removeprefix("Bearer key-of-") for each in sandbox.received]
    passed = [each.deployment for each in exchange.passed]
    printed = Printed.read(text)
    turns_taken = printed.walked(router.registry, passed)
    assert (
        [each for each in turns_taken if each not in passed] == asked == [each.deployment for each in exchange.attempts]
    )
    assert [each for each in turns_taken if each in passed] == passed
    assert {each.code for each in exchange.passed} <= REFUSALS
    if exchange.plan is not None:
        assert set(exchange.plan.snapshot.full) == full & set(printed.candidates)
        assert not full & set(asked), "what is said to be walked past is walked past"
        assert all(f"  -  {each} " in text.partition("\nwalked past while")[2] for each in exchange.plan.snapshot.full)
    full |= {each.deployment for each in exchange.passed if each.code == "rate_limit_exceeded"}


async def several(found: Registry, sandbox: Sandbox, start: Start, seed: int, asked: list[dict[str, Any]]) -> None:
    router = Router(found, clock=lambda: NOW, randomness=random.Random(seed))
    known, seen, turns_before = start
    router.state._circuits.update(known if found.breaker else {})
    router.state._seen.update(
        {name: _Seen(0, each.first_token, each.tokens_per_second, NOW) for name, each in seen.items()}
    )
    router._loop._turns.update(turns_before)
    full: set[str] = set()
    for body in asked:
        await compare(router, sandbox, body, full)
    await router.aclose()


@given(
    configurations(), st.tuples(circuits, loads, turns), st.integers(0, 99), st.lists(bodies, min_size=1, max_size=4)
)
@settings(max_examples=examples(60), deadline=None)
@pytest.mark.timeout(180)
def test_the_plan_that_is_printed_is_the_one_that_is_walked(
    provider: Sandbox, found: Registry, start: Start, seed: int, asked: list[dict[str, Any]]
) -> None:
    """Some requests again: their circuits have counted failures by then, and what is limited is full."""
    with TemporaryDirectory() as folder:
        moved = at(found, provider.url, folder)
        asyncio.run(several(moved, provider, start, seed, [asked[0], *asked, asked[0], asked[-1]]))


def test_the_chains_that_are_printed_are_walked(provider: Sandbox) -> None:
    """Too long, then refused content, then an answer: each by the table that says so."""
    does = {"a": "error-context", "b": "error-content", "c": "echo", "d": "echo"}
    rows = [{"id": name, "model": name} for name in does]
    chains = {"context_window_fallbacks": {"a": ["b"]}, "content_policy_fallbacks": {"a": ["c"]}}
    found = registry({"deployments": rows, **chains, "fallbacks": {"a": ["d"]}})
    acting = {name: _acting(each, does[name]) for name, each in found.deployments.items()}
    body = {"model": "a", "messages": [{"role": "user", "content": "hello"}]}
    with TemporaryDirectory() as folder:
        moved = at(replace(found, deployments=acting), provider.url, folder)
        asyncio.run(several(moved, provider, ({}, {}, {}), 1, [body]))
    assert [each.model for each in provider.received] == ["error-context", "error-content", "echo"]


@given(configurations(), st.tuples(circuits, loads, turns), st.integers(0, 2**32 - 1), bodies)
@settings(max_examples=examples(60), deadline=None)
def test_a_plan_comes_back_from_its_line(found: Registry, start: Start, seed: int, body: dict[str, Any]) -> None:
    """Plan, record, JSON, record, plan: equal, also what it was made from."""
    known, seen, turns_before = start
    full = dict.fromkeys(list(found.deployments)[::2], "it is full")
    try:
        made = plan_of(Call("chat", body), found, Snapshot(TODAY, seed, seen, turns_before, NOW, known, full))
    except RequestError:
        return
    exchange = Exchange("ex-1", Call("chat", body), LOCAL, found.version, NOW, "m", plan=made, downgraded=[made])
    again = Record.read(json.loads(Record.of(exchange).line()))
    assert again == Record.of(exchange)
    assert again.plan == made
    assert plan(made.facts, found, made.snapshot) == made


OFF = {
    "features": "tools: {enabled: false, when_off: strip}",
    "effort": "defaults: {a: high}\nauto: [{tools: true, effort: max}, {effort: low}]",
    "routing": "default_model: g\nstrategies: {g: cheapest}\ntasks: [{task: coding, keywords: [python]}]",
}
CONFIG = """
model_list:
  - {model_name: a, litellm_params: {model: openai/gpt-6-luna, api_key: k}, model_info: {id: a}}
  - {model_name: b, litellm_params: {model: openai/gpt-6-astra, api_key: k}, model_info: {id: b}}
  - {model_name: c, litellm_params: {model: groq/llama-3.3-70b-versatile, api_key: k}, model_info: {id: c}}
router_settings:
  routing_groups: [{group_name: g, models: [a, b, c], routing_strategy: simple-shuffle}]
"""
HELLO = [{"role": "user", "content": "hello in python"}]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": HELLO},
        {"messages": HELLO, "model": "g", "provider": "groq"},
        {"messages": HELLO, "model": "g", "reasoning_effort": "auto", "max_tokens": 5},
        {"messages": HELLO, "model": "g", "tools": [{"type": "function", "function": {"name": "f"}}]},
        {"messages": HELLO, "model": "nobody"},
    ],
    ids=lambda body: " ".join(body),
)
def test_the_command_says_what_the_router_says(tmp_path: Any, body: dict[str, Any]) -> None:
    """One code path: features, defaults, tasks, the default model and the preferred provider hold for both."""
    router = Router(registry_from(tmp_path, CONFIG, OFF))
    (tmp_path / "body.json").write_text(json.dumps(body))
    options = ["--config", str(tmp_path / "litellm_config.yaml"), "--request", str(tmp_path / "body.json")]
    done = CliRunner().invoke(app, ["explain", *options, "--seed", "5"])
    try:
        text = router.explain(seed=5, **body) + "\n"
    except RequestError as error:
        text = f"{error.code}: {error.message}\n"
    assert done.output == text
    if "tools" in body:
        assert "! tools is taken out: it is switched off in policies/features.yaml" in text
    router.close()


def test_the_command_refuses_what_the_router_would(tmp_path: Any) -> None:
    registry_from(tmp_path, CONFIG, OFF)
    (tmp_path / "body.json").write_text(json.dumps({"messages": HELLO, "model": "g", "base_url": "http://there"}))
    options = ["--config", str(tmp_path / "litellm_config.yaml"), "--request", str(tmp_path / "body.json")]
    done = CliRunner().invoke(app, ["explain", *options])
    assert (done.exit_code, done.output) == (
        1,
        "unknown_parameter: base_url is set by the operator of this router, not in a request\n",
    )
