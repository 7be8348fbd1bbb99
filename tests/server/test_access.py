"""Who may what, over a real socket: `tests/cases/access.yaml`, every route and every field of it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from scribe_router.config.documents import load
from scribe_router.policies.access import SPELLINGS, Name
from scribe_router.policies.keys import RANDOM, Spec, made
from scribe_router.policies.parameters import OURS
from scribe_router.router import Router
from scribe_router.sandbox import running_sandbox
from scribe_router.server.app import admin_app, public_app
from scribe_router.upstream.litellm_lane import warm_up
from tests.support.served import served
from tests.support.yaml_text import registry_from

MASTER = "sk-test-0123456789-abcdefghij"
CASES: dict[str, Any] = load(Path(__file__).parent.parent / "cases" / "access.yaml").data
NAMES = [name for name in get_args(Name) if name != "*"]
APIS = {"chat": "POST /v1/chat/completions", "completions": "POST /v1/completions", "embeddings": "POST /v1/embeddings"}
ROW = """
  - model_name: {name}
    litellm_params: {{model: hosted_vllm/{model}, api_base: BASE/v1, api_key: k}}
    model_info: {{mode: {mode}, input_cost_per_token: 0, output_cost_per_token: 0}}"""
AWAY = """
  - model_name: away
    litellm_params: {model: openai/echo, api_key: k}
    model_info: {region: eu, input_cost_per_token: 0, output_cost_per_token: 0}
  - model_name: falls
    litellm_params: {model: hosted_vllm/echo, api_base: BASE/v1, api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}

router_settings:
  model_group_alias: {fast: echo}
  fallbacks: [{falls: [other, away]}]
  routing_groups: [{group_name: both, models: [echo, other], routing_strategy: simple-shuffle}]
"""
POLICIES = {
    "access": "master_key: os.environ/MASTER",
    "store": "ledger: sqlite:ledger.db\naudit: audit.jsonl",
    "routing": "default_model: echo\nauto: [{model: other}]",
    "providers": "openai: {regions: {eu: {api_base: BASE/v1}}}",
    "migrations": "old-echo: {to: echo}",
}


def configuration(base: str) -> tuple[str, dict[str, str]]:
    rows = [("echo", "echo", "chat"), ("other", "echo", "chat"), ("vectors", "embed", "embedding")]
    listed = "".join(ROW.format(name=name, model=model, mode=mode) for name, model, mode in rows)
    text = f"model_list:{listed}{AWAY}"
    return text.replace("BASE", base), {name: each.replace("BASE", base) for name, each in POLICIES.items()}


@dataclass
class Stage:
    """A proxy, and how each principal of the table authenticates."""

    client: httpx.Client
    router: Router
    headers: dict[str, dict[str, str]]

    def ask(self, principal: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        options = {} if body is None else {"json": body}
        return self.client.request(method, path, headers={**self.headers[principal], **headers}, **options)

    def send(self, principal: str, route: str, more: dict[str, Any] | None = None) -> httpx.Response:
        """What the table sends to a route, and more; `metadata.x` and headers go where they belong."""
        method, _, path = route.partition(" ")
        body, headers = CASES["sent"].get(route.replace(" /v1", " ")), {}
        for name, value in (more or {}).items():
            if name.startswith("x-"):
                headers[name] = value
            elif name.startswith("metadata."):
                body = {**body, "metadata": {name.partition(".")[2]: value}}
            else:
                body = {**body, name: value}
        body = body and {name: value for name, value in body.items() if value != "~"}
        return self.ask(
            principal, method, path.replace("{name:path}", "echo").replace("{name}", "nobody-s"), body, **headers
        )


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    warm_up()
    folder = tmp_path_factory.mktemp("access")
    with running_sandbox() as sandbox:
        text, policies = configuration(sandbox.url)
        router = Router(registry_from(folder, text, policies, {"MASTER": MASTER}))
        with served(router) as url, httpx.Client(base_url=url, timeout=30) as client:
            yield Stage(client, router, {"master": bearer(MASTER), **principals(client)})


def principals(client: httpx.Client) -> dict[str, dict[str, str]]:
    def make(name: str, **asked: Any) -> str:
        answer = client.post("/admin/keys", json={"name": name, **asked}, headers=bearer(MASTER))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["key"])

    texts = {name: make(name, **asked) for name, asked in CASES["keys"].items() if name != "expired"}
    texts |= {f"may-{name}".lower(): make(f"may-{name}".lower(), models=["*"], fields=[name]) for name in NAMES}
    texts |= {"may-none": make("may-none", models=["*"], fields=[]), "bare": make("bare", models=["*"])}
    texts["expired"] = make("expired", models=["*"], expires="1s")
    for path, body in (("revoked/revoke", {}), ("rotated/rotate", {"grace": 0})):
        client.post(f"/admin/keys/{path}", json=body, headers=bearer(MASTER)).raise_for_status()
    forged, _ = made(Spec(name="x", models=("*",)), os.urandom(RANDOM), os.urandom(32), 0.0)
    texts |= {
        "wrong": "sk-scribe",
        "forged": forged,
        "mistyped": texts["free"][:-1] + ("A" if texts["free"][-1] != "A" else "B"),
    }
    found = {name: bearer(text) for name, text in texts.items()}
    while client.get("/v1/models", headers=found["expired"]).status_code == 200:
        continue
    return {
        **found,
        "nobody": {},
        "empty": {"authorization": "Bearer"},
        "basic": {"authorization": f"Basic {texts['free']}"},
    }


def routes_of(*apps: Any) -> set[str]:
    """Every method and path of applications."""
    return {f"{method} {path}" for app in apps for method, path in every_route(app.routes, "")}


def every_route(routes: Any, prefix: str) -> Iterator[tuple[str, str]]:
    """What is included keeps its own paths, below a prefix."""
    for each in routes:
        if isinstance(each, Route | APIRoute):
            yield from ((method, prefix + each.path) for method in each.methods or ())
        else:
            yield from every_route(each.original_router.routes, prefix + each.include_context.prefix)


def test_every_route_is_in_the_table(stage: Stage) -> None:
    assert routes_of(public_app(stage.router, admin=True)) == set(CASES["routes"])
    public, admin = routes_of(public_app(stage.router, admin=False)), routes_of(admin_app(stage.router))
    assert public | admin == set(CASES["routes"])
    assert not {route for route in public if "/admin" in route}
    assert not {route for route in admin if "/admin" not in route}


INSIDE = [
    (route, principal, status)
    for route, expected in CASES["routes"].items()
    if expected != "open"
    for principal, status in {**CASES["outside"], **expected}.items()
]


@pytest.mark.parametrize(("route", "principal", "status"), INSIDE)
def test_routes(stage: Stage, route: str, principal: str, status: int) -> None:
    answer = stage.send(principal, route)
    assert answer.status_code == status, answer.text
    if status in (401, 403) and not route.startswith("HEAD"):
        assert answer.json()["error"]["type"] == {401: "authentication_error", 403: "permission_error"}[status]
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("principal", [*CASES["outside"], "narrow", "master"])
def test_health_is_open(stage: Stage, principal: str) -> None:
    for route in (route for route, expected in CASES["routes"].items() if expected == "open"):
        assert stage.send(principal, route).status_code in (200, 503)


NOWHERE = """
/ /v1 /v1/nothing /admin /admin/keys/ /health /health/live/ /health/live/x //health/live /health/../v1/models
/HEALTH/LIVE /docs /redoc
""".split()


@pytest.mark.parametrize("path", NOWHERE)
def test_where_there_is_no_route_nobody_learns_that(stage: Stage, path: str) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
        assert stage.ask("nobody", method, path).status_code == 401


def test_every_field_is_in_the_table() -> None:
    assert {*CASES["fields"], *CASES["default"]} == set(NAMES)
    assert set(CASES["spellings"]) == set(SPELLINGS)
    assert set(NAMES) >= OURS, "a field of ours that no key needs to be allowed"


SAID = {**CASES["fields"], **CASES["default"], **CASES["spellings"]}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("field", SAID)
def test_fields(stage: Stage, api: str, field: str) -> None:
    """Refused by name for who may not; whatever becomes of it for who may, it is not for want of a right."""
    needs = SPELLINGS.get(field, field)
    refused = ["may-none", *([] if needs in CASES["default"] else ["bare"])]
    others = [f"may-{name}".lower() for name in NAMES if name != needs]
    for principal in (*refused, *others):
        answer = stage.send(principal, APIS[api], {field: SAID[field]})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (403, "field_not_allowed", field), principal
    for principal in {"bare", "may-none", f"may-{needs}", "free", "master"} - {*refused}:
        answer = stage.send(principal, APIS[api], {field: SAID[field]})
        elsewhere = "region_not_allowed" in answer.text  # the host here is in no region
        assert answer.status_code in (200, 400) or elsewhere, answer.text


def test_what_is_null_is_not_set(stage: Stage) -> None:
    for field in (name for name in CASES["fields"] if not name.startswith("x-")):
        assert "field_not_allowed" not in stage.send("may-none", APIS["chat"], {field: None}).text


ASKED = [(who, name, status) for who, names in CASES["models"].items() for name, status in names.items()]


@pytest.mark.parametrize(("who", "name", "status"), ASKED)
def test_models(stage: Stage, who: str, name: str, status: int) -> None:
    answer = stage.send(who, APIS["chat"], {"model": name})
    assert answer.status_code == status, answer.text
    if status == 403:
        assert answer.json()["error"]["code"] in ("model_not_allowed", "region_not_allowed")
        assert answer.json()["error"]["param"] == "model"


def test_nobody_learns_the_names_of_others(stage: Stage) -> None:
    for name in ("othe", "other", "no-such"):
        text = stage.send("narrow", APIS["chat"], {"model": name}).json()["error"]["message"]
        assert text == f"this key may not use {name}; /v1/models lists what it may use"
        assert stage.ask("narrow", "GET", f"/v1/models/{name}").json()["error"]["message"] == text
    near = stage.send("narrow", APIS["embeddings"], {"model": "vector"}).json()["error"]["message"]
    assert near == "this key may not use vector, did you mean vectors?"


@pytest.mark.parametrize("who", CASES["listed"])
def test_the_list_of_models(stage: Stage, who: str) -> None:
    found = stage.ask(who, "GET", "/v1/models").json()["data"]
    assert sorted(each["id"] for each in found) == CASES["listed"][who]
    for name in CASES["listed"]["free"]:
        status = stage.ask(who, "GET", f"/v1/models/{name}").status_code
        assert (status == 200) == (name in CASES["listed"][who])
