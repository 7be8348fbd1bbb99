"""`GET /admin/spend`: what the command line says, to the last digit, for those who may, while requests go on."""

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from scribe_router.cli import app
from scribe_router.errors import PermissionDenied
from scribe_router.policies.access import MASTER, administers
from scribe_router.principals import EVERYTHING, LOCAL, Principal
from scribe_router.router import Router
from scribe_router.sandbox import running_sandbox
from scribe_router.server.admin import admin_routes
from scribe_router.stores.sqlite import SqliteLedger
from tests.stores.ledger_rows import row, settlement
from tests.support.proxy import Proxy, serving
from tests.support.yaml_text import registry_from

CONFIG = """
model_list:
  - model_name: m
    litellm_params: {model: openai/usage-1000-200, api_base: BASE, api_key: k}
    model_info: {input_cost_per_token: 0.0000003, output_cost_per_token: 0.0000007}
"""
KEY = "sk-a-long-enough-master-key"
ASKED = [
    "by=model",
    "by=user,day",
    "by=deployment,lane,mark&since=2020-01-01",
    "by=",
    "by=user&since=2999-01-01",
    "by=limit",
]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with running_sandbox() as sandbox:
        (tmp_path / "litellm_config.yaml").write_text(CONFIG.replace("BASE", sandbox.url + "/v1"))
        (tmp_path / "policies").mkdir()
        (tmp_path / "policies" / "store.yaml").write_text("ledger: sqlite:l.sqlite3")
        limits = "limits: [{id: ever, scope: all, usd: 5}, {id: day, scope: user, window: day, usd: 5}]"
        (tmp_path / "policies" / "budgets.yaml").write_text(limits)
        yield tmp_path


def call(proxy: Proxy, **headers: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    httpx.post(f"{proxy.url}/v1/chat/completions", json=body, headers=headers, timeout=30).raise_for_status()


def command(folder: Path, asked: str, form: str) -> str:
    options = [part for pair in asked.split("&") for part in ("--" + pair.partition("=")[0], pair.partition("=")[2])]
    place = ["--config", str(folder / "litellm_config.yaml"), "--format", form]
    done = CliRunner().invoke(app, ["spend", *options, *place])
    assert done.exit_code == 0, done.output
    return done.output


def without_forecasts(text: str, form: str) -> Any:
    """All but what depends on the moment of asking."""
    if form == "json":
        found = json.loads(text)
        return found | {"limits": [{**each, "forecast": None} for each in found["limits"]]}
    return [{**line, "forecast": None} for line in csv.DictReader(io.StringIO(text))]


def test_the_same_figures_as_the_command(folder: Path) -> None:
    with serving(folder) as proxy:
        for _ in range(3):
            call(proxy)
        for asked in ASKED:
            for form, kind in (("json", "application/json"), ("csv", "text/csv; charset=utf-8")):
                answer = httpx.get(f"{proxy.url}/admin/spend?{asked}&format={form}")
                assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
                assert without_forecasts(answer.text, form) == without_forecasts(command(folder, asked, form), form)
        assert httpx.get(f"{proxy.url}/admin/spend?since=2999-01-01").json()["total"]["attempts"] == 0
        found = httpx.get(f"{proxy.url}/admin/spend").json()
        assert (found["total"]["attempts"], found["total"]["usd"]) == (3, "0.00132")
        assert [each["usd"] for each in found["limits"]] == ["0.00132", "0.00132"]


@pytest.mark.parametrize(
    ("asked", "param", "said"),
    [
        ("by=nodel", "by", "by: there is no column nodel, did you mean model?"),
        ("by=limit,user", "by", "by: limit stands alone"),
        ("format=table", "format", "format: json or csv, not table"),
        ("since=now", "since", "since: a day such as 2026-11-20, not now"),
        ("bye=model", "bye", "there is no parameter bye, did you mean by?"),
    ],
)
def test_what_makes_no_sense(one_proxy: Proxy, asked: str, param: str, said: str) -> None:
    answer = httpx.get(f"{one_proxy.url}/admin/spend?{asked}")
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["message"]) == (400, param, said)


@pytest.fixture(scope="module")
def one_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("one")
    (folder / "litellm_config.yaml").write_text(CONFIG.replace("BASE", "http://127.0.0.1:1/v1"))
    with serving(folder) as proxy:
        yield proxy


def test_only_who_may(folder: Path, one_proxy: Proxy) -> None:
    (folder / "policies" / "access.yaml").write_text("master_key: os.environ/MASTER")
    with serving(folder, environment={"MASTER": KEY}) as proxy:
        url = f"{proxy.url}/admin/spend"
        call(proxy, authorization=f"Bearer {KEY}")
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"authorization": "Bearer sk-another-long-enough-key"}).status_code == 401
        found = httpx.get(url + "?by=user,key", headers={"authorization": f"Bearer {KEY}"})
        assert [line["key"] for line in found.json()["lines"]] == ["master"]
    foreign = httpx.get(f"{one_proxy.url}/admin/spend", headers={"host": "router.example.com"})
    assert foreign.status_code == 403, "a web page cannot ask under a name of its own"
    assert httpx.post(f"{one_proxy.url}/admin/spend", json={}).status_code == 405


def test_the_state_of_deployments(folder: Path) -> None:
    with serving(folder) as proxy:
        call(proxy)
        answer = httpx.get(f"{proxy.url}/admin/deployments")
        [found] = answer.json()["deployments"]
        assert found.pop("latency_seconds") > 0
        assert found.pop("tokens_per_second") is None
        assert found == {
            "deployment": "m", "model": "m", "provider": "openai", "missing": None, "circuit": "closed",
            "failures_in_a_row": 0, "free_in_seconds": 0.0, "in_flight": 0, "last_failure": None, "key": None,
        }  # fmt: skip
        assert httpx.get(f"{proxy.url}/admin/deployments?by=model").status_code == 400
        assert set(httpx.get(f"{proxy.url}/health/ready").json()) == {"status", "store", "journal_lines_lost"}
    (folder / "policies" / "access.yaml").write_text("master_key: os.environ/MASTER")
    with serving(folder, environment={"MASTER": KEY}) as proxy:
        assert httpx.get(f"{proxy.url}/admin/deployments").status_code == 401
        headers = {"authorization": f"Bearer {KEY}"}
        assert httpx.get(f"{proxy.url}/admin/deployments", headers=headers).status_code == 200


async def test_another_principal_may_not(tmp_path: Path) -> None:
    router = Router(registry_from(tmp_path, CONFIG.replace("BASE", "http://127.0.0.1:1/v1")))
    routes = FastAPI()
    routes.include_router(admin_routes(router))

    async def as_ann(scope: Any, receive: Any, send: Any) -> None:
        await routes({**scope, "state": {"principal": Principal("team-blue", "ann")}}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(as_ann), base_url="http://localhost") as client:
        with pytest.raises(PermissionDenied, match="team-blue may not see what others do"):
            await client.get("/admin/spend")
        with pytest.raises(PermissionDenied, match="team-blue may not see what others do"):
            await client.get("/admin/deployments")
    await router.aclose()


def test_who_administers() -> None:
    assert administers(LOCAL)
    assert administers(MASTER)
    assert not administers(Principal("local", "local"))
    assert not administers(Principal("master", "master", grant=replace(EVERYTHING, administers=False)))
    assert not administers(Principal("team-blue", "ann"))


ROWS = 20_000


async def _many(path: Path) -> None:
    ledger = SqliteLedger(path)
    for start in range(0, ROWS, 1000):
        names = [f"a{number}" for number in range(start, start + 1000)]
        await asyncio.gather(*(ledger.reserve(row(name, 10), 10) for name in names))
        for name in names:
            ledger.settle(settlement(name, 7, input=3, output=4))
    await ledger.flush()
    ledger.close()


@pytest.mark.slow
async def test_requests_go_on_while_much_is_read(folder: Path) -> None:
    """A report reads pages in a thread and adds them up in between: the proxy answers others all the while."""
    await _many(folder / "l.sqlite3")
    with serving(folder) as proxy:
        async with httpx.AsyncClient(base_url=proxy.url, timeout=50) as client:
            report = asyncio.create_task(client.get("/admin/spend?by=user"))
            answered = 0
            while not report.done():
                answered += (await client.get("/health/live")).status_code == 200
            assert (await report).json()["total"]["usd"] == "0.00014"
            assert answered >= 10
