"""Where requests go, over sockets: each host is a sandbox of its own that stands for a region, and the set of those
that were reached is what a test looks at. Two hundred random schedules of faults, and each way out by itself."""

import json
import logging
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from scribe_router.errors import InvalidRequest, PermissionDenied, RequestError, StreamError
from scribe_router.exchange import Call, Exchange
from scribe_router.principals import Grant, Principal
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.stream import AnswerStream
from tests.mcp.servers import executed, stdio
from tests.support.yaml_text import registry_from

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTS = {"eu": "eu", "eu-2": "eu", "us": "us", "jp": "jp", "dark": None}
FREE = Principal("free", "bob", grant=Grant(models=("*",), fields=("*",), tools=("*",)))
EUROPEAN = Principal("european", "ann", grant=Grant(models=("*",), fields=("*",), tools=("*",), regions=("eu",)))
MODELS = ("a", "b", "c", "d")
NAMES = (*MODELS, "g", "x")
BEHAVIOURS = (
    "echo",
    "echo",
    "tool",
    "error-500",
    "error-429",
    "error-context",
    "error-content",
    "refuse",
    "empty",
    "no-end",
)
ROUTERS, EACH = 10, 20
AT_ONCE = {name: {"retries": 0} for name in ("rate_limit", "server", "network", "timeout")}
Reached = set[str]


class World:
    """Hosts by name, and the servers of tools in the EU and in the US."""

    def __init__(self, hosts: Mapping[str, Sandbox], folder: Path) -> None:
        self.hosts, self.folder, self.count = hosts, folder, 0
        self.records = {name: folder / f"{name}.record" for name in ("here", "away")}

    def reached(self) -> Reached:
        """The hosts and servers of tools that were reached since the last look."""
        hosts = {name for name, each in self.hosts.items() if each.received}
        tools = {name for name, each in self.records.items() if executed(each)}
        for host in self.hosts.values():
            host.clear()
        for record in self.records.values():
            record.unlink(missing_ok=True)
        return hosts | tools

    def router(self, entries: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], **policies: Any) -> Router:
        self.count += 1
        folder = self.folder / f"r{self.count}"
        folder.mkdir()
        text = json.dumps({"model_list": list(entries), "router_settings": dict(settings)})
        store = {"ledger": "sqlite:ledger.db", "journal": "journal.jsonl"}
        files = {"store": store, "retries": AT_ONCE, **policies}
        return Router(registry_from(folder, text, {name: json.dumps(each) for name, each in files.items()}))

    def entry(self, model: str, number: int, host: str, behaviour: str, **info: Any) -> dict[str, Any]:
        prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
        region = {"region": HOSTS[host]} if HOSTS[host] else {}
        base = self.hosts[host].url + "/v1"
        return {
            "model_name": model,
            "litellm_params": {"model": f"openai/{behaviour}", "api_base": base, "api_key": "k"},
            "model_info": {"id": f"{model}-{number}", **region, **prices, **info},
        }

    @property
    def tools(self) -> dict[str, Any]:
        rows: dict[str, dict[str, Any]] = {
            "here": {"region": "eu", "covered": True, "retention": "zero"},
            "away": {"region": "us"},
        }
        return {"servers": {name: stdio(self.records[name], price="free", **row) for name, row in rows.items()}}


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def one_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with AsyncExitStack() as opened:
        hosts = {name: await opened.enter_async_context(Sandbox()) for name in HOSTS}
        yield World(hosts, tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(one_world: World) -> World:
    one_world.reached()
    return one_world


async def ask(router: Router, who: Principal, model: str, text: str = "hello", **more: Any) -> Exchange:
    """The exchange of a request that was read to its end, whatever became of it."""
    call = Call("chat", {"model": model, "messages": [{"role": "user", "content": text}], **more})
    try:
        answer = await router.serve(call, who)
    except RequestError as error:
        found: Exchange | None = error.exchange
        assert found is not None, "every refusal belongs to an exchange"
        return found
    if isinstance(answer, AnswerStream):
        with suppress(StreamError):
            async for _ in answer:
                pass
    return answer.exchange


def journal_of(router: Router) -> str:
    return Path(str(router.registry.store.journal)).read_text(encoding="utf-8")


def random_router(world: World, draw: random.Random) -> Router:
    def table() -> list[dict[str, list[str]]]:
        sources = draw.sample(NAMES, 3)
        others = {name: [each for each in NAMES if {name, each} not in ({"g", "x"}, {name})] for name in sources}
        return [{name: draw.sample(others[name], 2)} for name in sources]

    entries = [
        world.entry(model, number, draw.choice(list(HOSTS)), draw.choice(BEHAVIOURS))
        for model in MODELS
        for number in range(3)
    ]
    settings = {
        "routing_groups": [{"group_name": "g", "models": ["a", "b"], "routing_strategy": "simple-shuffle"}],
        "model_group_alias": {"x": "g"},
        "fallbacks": table(),
        "context_window_fallbacks": table(),
        "content_policy_fallbacks": table(),
        "default_fallbacks": draw.sample(NAMES, 2),
    }
    arms = {"one": {"model": "c", "share": 1}, "two": {"model": "g", "share": 1}}
    short = {"id": "key", "scope": ["key", "model"], "usd": 0.002, "only": {"model": [draw.choice(MODELS)]}}
    return world.router(
        entries,
        settings,
        experiments={"experiments": {"e": {"on": "g", "arms": arms}}},
        budgets={"limits": [{**short, "when_short": ["downgrade"], "downgrade_to": draw.choice(NAMES)}]},
        cache={"enabled": True, "share": "all"},
        mcp=world.tools,
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_two_hundred_schedules_stay_within_the_eu(world: World) -> None:
    draw, elsewhere, tools, ways = random.Random(6), 0, 0, set[str]()
    for number in range(ROUTERS):
        router = random_router(world, draw)
        for turn in range(EACH):
            more: dict[str, Any] = {"stream": draw.random() < 0.3, "metadata": {"experiment_unit": f"u{draw.random()}"}}
            more |= {"mcp_tools": ["*"]} if draw.random() < 0.2 else {}
            more |= {"max_tokens": draw.choice([16, 400])}
            model, text = draw.choice(NAMES), f"schedule {number}.{turn}"
            await ask(router, FREE, model, text, **more)
            elsewhere += bool(world.reached() - {"eu", "eu-2", "here"})
            exchange = await ask(router, EUROPEAN, model, text, **more)
            reached = world.reached()
            assert reached <= {"eu", "eu-2", "here"}, f"{exchange.id}: {text}"
            assert exchange.cache != "hit", "it was given an answer that was made elsewhere"
            tools += "here" in reached
            plans = [each for each in (exchange.plan, *exchange.downgraded) if each is not None]
            via = {each.deployment: each.via for plan in plans for each in _candidates(plan)}
            ways |= {via[each.deployment].partition(" ")[0] for each in exchange.attempts if each.deployment in via}
            ways |= {"downgrade"} if exchange.downgraded else set()
        await router.aclose()
    assert elsewhere > ROUTERS * EACH / 3, "nothing would have gone elsewhere, so nothing was shown"
    assert tools
    assert {"arm", "fallback", "context-window", "last", "downgrade"} <= ways


def _candidates(plan: Any) -> Sequence[Any]:
    return (*plan.candidates, *plan.context_window, *plan.content_policy)


@pytest.fixture
def pair(world: World) -> list[dict[str, Any]]:
    marks = {"retention": "zero", "covered": True}
    return [
        world.entry("m", 0, "eu", "echo", **marks),
        world.entry("m", 1, "us", "echo"),
        world.entry("only-us", 0, "us", "echo"),
        world.entry("tooled", 0, "eu", "tool", **marks),
    ]


async def several(router: Router, who: Principal, model: str, world: World, **more: Any) -> Reached:
    for number in range(8):
        await ask(router, who, model, f"{number}", **more)
    return world.reached()


@pytest.mark.parametrize(
    ("metadata", "hosts"),
    [
        ({}, {"eu", "us"}),
        ({"regions": ["eu"]}, {"eu"}),
        ({"regions": ["us"]}, {"us"}),
        ({"regions": ["jp"]}, set()),
        ({"zero_retention": True}, {"eu"}),
        ({"zero_retention": False}, {"eu", "us"}),
        ({"zero_retention": True, "regions": ["us"]}, set()),
    ],
)
async def test_a_request_narrows(world: World, pair: list[Any], metadata: dict[str, Any], hosts: Reached) -> None:
    router = world.router(pair, {})
    assert await several(router, FREE, "m", world, metadata=metadata) == hosts
    assert await several(router, EUROPEAN, "m", world, metadata=metadata) == hosts & {"eu"}
    await router.aclose()


async def test_its_words_are_not_sent_and_need_a_right(world: World, pair: list[Any]) -> None:
    router = world.router(pair, {})
    await ask(router, FREE, "m", metadata={"regions": ["eu"], "zero_retention": True, "mine": "1"})
    assert json.loads(world.hosts["eu"].received[0].body)["metadata"] == {"mine": "1"}
    bare = Principal("bare", "bob", grant=Grant(models=("*",)))
    said = [{"role": "user", "content": "hello"}]
    call = Call("chat", {"model": "m", "messages": said, "metadata": {"regions": ["eu"]}})
    with pytest.raises(PermissionDenied) as caught:
        await router.serve(call, bare)
    assert (caught.value.code, caught.value.param) == ("field_not_allowed", "metadata.regions")
    with pytest.raises(InvalidRequest, match="regions must be a list"):
        await router.serve(Call("chat", {**call.body, "metadata": {"regions": "eu"}}), FREE)
    await router.aclose()


@pytest.mark.parametrize(
    ("name", "hosts"), [("m", {"eu"}), ("alias", {"eu"}), ("group", {"us", "eu"}), ("only-us", {"us"})]
)
async def test_what_a_name_demands(world: World, pair: list[Any], name: str, hosts: Reached) -> None:
    group = {"group_name": "group", "models": ["m", "only-us"], "routing_strategy": "simple-shuffle"}
    settings = {"model_group_alias": {"alias": "m"}, "routing_groups": [group], "default_fallbacks": ["only-us"]}
    router = world.router(pair, settings, residency={"names": {"m": {"regions": ["eu"]}}})
    assert await several(router, FREE, name, world) == hosts
    await router.aclose()


async def test_a_name_that_is_asked_for_binds_what_a_limit_leads_to(world: World, pair: list[Any]) -> None:
    limit = {"id": "l", "scope": "model", "usd": 0.0012, "only": {"model": ["m"]}, "when_short": "downgrade"}
    budgets = {"limits": [{**limit, "downgrade_to": "only-us"}]}
    free = world.router(pair, {}, budgets=budgets)
    assert await several(free, FREE, "m", world) == {"us"}
    bound = world.router(pair, {}, budgets=budgets, residency={"names": {"m": {"regions": ["eu"]}}})
    assert await several(bound, FREE, "m", world) == set()
    await free.aclose()
    await bound.aclose()


async def test_tools_of_elsewhere_are_not_offered(world: World, pair: list[Any]) -> None:
    router = world.router(pair, {}, mcp=world.tools)
    exchange = await ask(router, FREE, "tooled", mcp_tools=["away__web_search"])
    assert (exchange.outcome, world.reached()) == ("answered", {"eu", "away"})
    exchange = await ask(router, EUROPEAN, "tooled", mcp_tools=["away__web_search"])
    assert (exchange.outcome, world.reached()) == ("unknown_tool", set())
    assert exchange.warnings == [
        "the tools of the MCP server away are left out: it is in us, this request may be served in eu"
    ]
    exchange = await ask(router, EUROPEAN, "tooled", mcp_tools=["*"])
    assert (exchange.outcome, world.reached()) == ("answered", {"eu", "here"})
    strangers = [{"type": "mcp", "server_label": "x", "server_url": "https://x.example"}]
    exchange = await ask(router, EUROPEAN, "tooled", tools=strangers)
    assert (exchange.outcome, world.reached()) == ("region_not_allowed", set())
    await router.aclose()


async def test_an_answer_of_elsewhere_is_not_given_from_the_cache(world: World, pair: list[Any]) -> None:
    entries = [pair[2], {**pair[0], "model_name": "n", "model_info": {**pair[0]["model_info"], "id": "n"}}]
    group = {"group_name": "g", "models": ["only-us", "n"], "routing_strategy": "priority"}
    settings = {"routing_groups": [{**group, "model_priorities": {"only-us": 1, "n": 2}}]}
    router = world.router(entries, settings, cache={"enabled": True, "share": "all"})
    assert [(await ask(router, FREE, "g")).cache for _ in range(2)] == ["miss", "hit"]
    assert world.reached() == {"us"}
    assert [(await ask(router, EUROPEAN, "g")).cache for _ in range(2)] == ["miss", "hit"]
    assert world.reached() == {"eu"}
    zero: dict[str, Any] = {"metadata": {"zero_retention": True}}
    assert [(await ask(router, EUROPEAN, "g", **zero)).cache for _ in range(2)] == [None, None]
    assert world.reached() == {"eu"}
    await router.aclose()


COVERED = Principal("covered", "ann", grant=Grant(models=("*",), fields=("*",), tools=("*",), hipaa=True))


@pytest.mark.parametrize("way", ["policy", *(pytest.param(way, marks=pytest.mark.slow) for way in ("name", "key"))])
async def test_hipaa(world: World, pair: list[Any], way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Covered places alone, no cache, and no word of the client's own in the journal or the log."""
    residency = {"policy": {"hipaa": True}, "name": {"names": {"m": {"hipaa": True}, "tooled": {"hipaa": True}}}}
    policies = {"residency": residency[way]} if way in residency else {}
    cache = {} if way == "policy" else {"cache": {"enabled": True, "share": "all"}}
    router = world.router(pair, {}, mcp=world.tools, **policies, **cache)
    who = COVERED if way == "key" else FREE
    words = {"canary-field": 1, "metadata": {"task": "canary-task"}, "provider": "canary-provider"}
    with caplog.at_level(logging.DEBUG):
        for _ in range(4):
            exchange = await ask(router, who, "m", "canary-text", **words)
            assert (exchange.outcome, exchange.cache) == ("answered", None)
        assert world.reached() == {"eu"}
        exchange = await ask(router, who, "tooled", "canary-text", mcp_tools=["*"])
        assert (exchange.outcome, world.reached()) == ("answered", {"eu", "here"})
        if way != "name":
            assert (await ask(router, who, "canary-model")).outcome == "model_not_found"
        await router.ledger.flush()
        rows = await router.ledger.rows()
    journal = journal_of(router)
    assert len(journal.splitlines()) == (5 if way == "name" else 6)
    assert "canary" not in journal
    assert "canary" not in caplog.text
    assert "canary" not in json.dumps(rows)
    assert router.journal.lost == 0
    await router.aclose()


async def test_under_hipaa_a_request_still_says_what_the_policies_know(world: World, pair: list[Any]) -> None:
    routing = {"weights": {"triage": {"cost": 1}}}
    router = world.router(pair, {}, residency={"hipaa": True}, routing=routing)
    known = (await ask(router, FREE, "m", metadata={"task": "triage"}, provider="openai")).plan
    other = (await ask(router, FREE, "m", metadata={"task": "of-ann"}, provider="of-ann")).plan
    assert known is not None
    assert other is not None
    assert (known.facts.task, known.facts.provider) == ("triage", "openai")
    assert (other.facts.task, other.facts.provider) == (None, None)
    await router.aclose()


async def test_what_stays_in_the_journal_without_it(world: World, pair: list[Any]) -> None:
    router = world.router(pair, {})
    await ask(router, FREE, "m", "canary-text", **{"canary-field": 1})
    journal = journal_of(router)
    assert "canary-field" in journal
    assert "canary-text" not in journal
    await router.aclose()
