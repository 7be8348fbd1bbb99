"""Hosts asked in between, over real sockets: what closes a circuit, what keeps it, and what says nothing."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from scribe_router.exchange import AttemptFailed, Category, Reached
from scribe_router.probes import Probes
from scribe_router.registry import Registry
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.state import State
from tests.support.yaml_text import RouterFrom, registry_from

pytestmark = pytest.mark.asyncio(loop_scope="session")
BREAKER = "{failures: 1, open_seconds: 10, successes: 2}"
OPEN, ALL = "{seconds: 0.5, probes: {every_seconds: 30}}", "{seconds: 0.5, probes: {every_seconds: 30, which: all}}"
PATIENCE = 20.0


class Host:
    """A host whose list of models answers with `status`, or never where that is 0; `asked` is how often it was."""

    def __init__(self) -> None:
        self.status, self.asked, self.url = 200, 0, ""

    async def models(self, _: web.Request) -> web.Response:
        self.asked += 1
        if not self.status:
            await asyncio.Event().wait()
        return web.json_response({"data": []}, status=self.status)


@asynccontextmanager
async def hosting() -> AsyncIterator[Host]:
    host, app = Host(), web.Application()
    app.router.add_get("/v1/models", host.models)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield host
    finally:
        await runner.cleanup()


def rows(url: str, *names: str) -> str:
    entries = (
        f"""
  - model_name: {name}
    litellm_params: {{model: openai/echo, api_base: "{url}", api_key: sandbox-key}}
    model_info: {{input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}}"""
        for name in names
    )
    return "model_list:" + "".join(entries)


class Case:
    """Probes of the deployments `a` and `b` of one host, at a clock that the test moves."""

    def __init__(self, folder: Path, url: str, health: str) -> None:
        self.now = 1_000.0
        policies = {"store": "ledger: sqlite:l.db", "health": health, "breaker": BREAKER}
        self.registry: Registry = registry_from(folder, rows(url, "a", "b"), policies)
        self.state = State(self.registry.breaker, self.registry.deployments)
        self.probes = Probes(self.registry, self.state, lambda: self.now)

    def fail(self, category: Category, name: str = "a", status: int | None = None) -> None:
        failure = AttemptFailed(category, Reached.REPLIED, "m", status=status)
        self.state.end(self.state.begin(name, self.now), failure, self.now)

    def circuit(self, name: str = "a") -> str:
        found = self.state.circuits.get(name)
        return found.state(self.now) if found else "closed"


@pytest.mark.parametrize("category", [Category.NETWORK, Category.TIMEOUT, Category.AUTHENTICATION])
async def test_a_host_that_is_back_is_found_without_a_request(tmp_path: Path, category: Category) -> None:
    async with hosting() as host:
        case = Case(tmp_path, host.url, OPEN)
        case.fail(category)
        await case.probes.look()
        assert (host.asked, case.circuit()) == (0, "open"), "the pause is not over"
        case.now += 11
        await case.probes.look()
        assert (host.asked, case.circuit()) == (1, "half_open"), "two successes close it"
        await case.probes.look()
        assert (host.asked, case.circuit()) == (2, "closed")
        await case.probes.look()
        assert host.asked == 2, "what is closed is not asked about"


@pytest.mark.parametrize("category", [Category.SERVER, Category.STREAM, Category.NOT_FOUND])
async def test_what_a_list_cannot_tell_is_left_to_a_request(tmp_path: Path, category: Category) -> None:
    async with hosting() as host:
        case = Case(tmp_path, host.url, OPEN)
        case.fail(category)
        case.now += 11
        await case.probes.look()
        assert (host.asked, case.circuit()) == (0, "half_open")


@pytest.mark.parametrize(("status", "opened_anew"), [(0, True), (401, True), (403, False), (404, False), (503, False)])
async def test_what_keeps_it_open(tmp_path: Path, status: int, *, opened_anew: bool) -> None:
    async with hosting() as host:
        case = Case(tmp_path, host.url, OPEN)
        case.fail(Category.NETWORK)
        case.now += 11
        host.status = status
        await case.probes.look()
        assert host.asked == 1
        found = case.state.circuits["a"]
        assert (case.circuit(), found.probing) == ("open" if opened_anew else "half_open", False)
        assert found.until - case.now == (20 if opened_anew else -1), "the pause doubles"


async def test_nobody_listens(tmp_path: Path) -> None:
    async with hosting() as host:
        case = Case(tmp_path, host.url, OPEN)
    case.fail(Category.NETWORK)
    case.now += 11
    await case.probes.look()
    assert (case.circuit(), case.state.circuits["a"].openings) == ("open", 2)


async def test_one_request_speaks_for_all_deployments_of_a_host_and_key(tmp_path: Path) -> None:
    async with hosting() as host:
        case = Case(tmp_path, host.url, OPEN)
        for name in ("a", "b"):
            case.fail(Category.NETWORK, name)
        case.now += 11
        for asked in (1, 2):
            await case.probes.look()
            assert host.asked == asked
        assert [case.circuit(name) for name in ("a", "b")] == ["closed", "closed"]


async def test_what_a_request_probes_is_not_asked_about(tmp_path: Path) -> None:
    async with hosting() as host:
        case = Case(tmp_path, host.url, OPEN)
        case.fail(Category.NETWORK)
        case.now += 11
        case.state.begin("a", case.now)
        await case.probes.look()
        assert host.asked == 0


async def test_all_finds_a_host_that_is_away_before_a_request_does(tmp_path: Path) -> None:
    async with hosting() as host:
        case = Case(tmp_path, host.url, ALL)
        await case.probes.look()
        assert (host.asked, case.circuit()) == (1, "closed")
    await case.probes.look()
    assert [case.circuit(name) for name in ("a", "b")] == ["open", "open"]


async def test_it_neither_excuses_failures_nor_counts_as_speed(tmp_path: Path) -> None:
    async with hosting() as host:
        policies = {"store": "ledger: sqlite:l.db", "health": ALL, "breaker": "failures: 3"}
        case = Case(tmp_path, host.url, ALL)
        case.state = State(
            registry_from(tmp_path, rows(host.url, "a", "b"), policies).breaker, case.registry.deployments
        )
        case.probes = Probes(case.registry, case.state, lambda: case.now)
        case.fail(Category.SERVER)
        await case.probes.look()
        [seen, _] = case.state.health(case.registry.deployments.values(), case.now)
        assert (seen["failures_in_a_row"], seen["latency_seconds"], seen["in_flight"]) == (1, None, 0)
        assert seen["last_failure"] == "server"


async def test_a_look_that_is_given_up_leaves_no_probe_behind(tmp_path: Path) -> None:
    async with hosting() as host:
        case = Case(tmp_path, host.url, OPEN)
        case.fail(Category.NETWORK)
        case.now += 11
        host.status = 0
        look = asyncio.create_task(case.probes.look())
        await until(lambda: host.asked == 1)
        assert case.state.circuits["a"].probing
        look.cancel()
        await asyncio.gather(look, return_exceptions=True)
        found = case.state.circuits["a"]
        assert (found.probing, case.circuit(), found.openings) == (False, "half_open", 1)


async def test_a_router_that_serves_asks_by_itself(sandbox: Sandbox, router: RouterFrom) -> None:
    policies = {
        "health": "{seconds: 5, probes: {every_seconds: 1}}",
        "breaker": "{failures: 1, open_seconds: 0.1, successes: 1}",
    }
    one: Router = router(rows(f"{sandbox.url}/v1", "a"), policies)
    entry = one.state.begin("a", one._clock())
    one.state.end(entry, AttemptFailed(Category.NETWORK, Reached.NOT_CONNECTED, "m"), one._clock())
    one.probes.start()
    await until(lambda: one.health()[0]["circuit"] == "closed")
    assert [each.path for each in sandbox.received] == ["/v1/models"]
    await one.probes.aclose()
    assert await one.ledger.rows() == [], "it is free"


@pytest.mark.parametrize("health", ["{}", "verify: warn"])
async def test_without_probes_there_is_no_task(sandbox: Sandbox, router: RouterFrom, health: str) -> None:
    one = router(rows(f"{sandbox.url}/v1", "a"), {"health": health})
    one.probes.start()
    assert one.probes._task is None


async def test_circuits_obey_one_rule_whoever_probes(tmp_path: Path) -> None:
    """Requests and looks in any order: never two probes at once, nothing left in flight."""
    async with hosting() as host:
        case, dice = Case(tmp_path, host.url, ALL), random.Random(7)
        for _ in range(120):
            case.now += dice.choice([0, 1, 15])
            host.status = dice.choice([200, 401, 404, 500])
            held = case.state.circuits.get("a")
            if dice.random() < 0.3 and not (held and held.blocked(case.now)):
                case.fail(dice.choice([Category.NETWORK, Category.SERVER]))
            await asyncio.gather(case.probes.look(), case.probes.look())
            seen = case.state.health(case.registry.deployments.values(), case.now)
            assert [each["in_flight"] for each in seen] == [0, 0]
            assert not any(each.probing for each in case.state.circuits.values())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110  (what is waited for is told by nobody)
            await asyncio.sleep(0.01)
