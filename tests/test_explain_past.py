"""A past request explained: on the command line, over HTTP, and in a header of its own answer."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from scribe_router import __version__
from scribe_router.cli import app
from scribe_router.exchange import Attempt, Call, Exchange, Mark, Passed
from scribe_router.explain_past import LONGEST, compact, explained, faults, verdict
from scribe_router.facts import Facts
from scribe_router.plan import Plan, Snapshot, plan
from scribe_router.policies.access import MASTER, may_explain
from scribe_router.principals import LOCAL, Principal
from scribe_router.record import Record
from scribe_router.registry import Registry
from scribe_router.router import Router
from scribe_router.sandbox import running_sandbox
from tests.policies.registries import TODAY, registry
from tests.support.served import served
from tests.support.yaml_text import registry_from

CONFIG = """
model_list:
  - model_name: first
    litellm_params: {model: openai/error-500, api_base: BASE, api_key: k}
    model_info: {id: first, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
  - model_name: dear
    litellm_params: {model: openai/echo, api_base: BASE, api_key: k}
    model_info: {id: dear, input_cost_per_token: 1, output_cost_per_token: 2}
  - model_name: second
    litellm_params: {model: openai/echo, api_base: BASE, api_key: k}
    model_info: {id: second, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
  - model_name: broken
    litellm_params: {model: openai/cut-after-1, api_base: BASE, api_key: k}
    model_info: {id: broken, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
  - model_name: refused
    litellm_params: {model: openai/error-400, api_base: BASE, api_key: k}
    model_info: {id: refused, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
router_settings: {fallbacks: [{first: [dear, second]}]}
"""
POLICIES = {
    "store": "ledger: sqlite:l.sqlite3\njournal: j.jsonl",
    "budgets": "limits: [{id: day, scope: provider, usd: 5, window: day}]",
}
KEY = "sk-a-long-enough-master-key"
ASK = {"x-scribe-explain": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running_sandbox() as sandbox:
        folder = tmp_path_factory.mktemp("past")
        registry_from(folder, CONFIG.replace("BASE", sandbox.url + "/v1"), POLICIES)
        yield folder


@pytest.fixture(scope="module")
def known(folder: Path) -> Registry:
    return registry_from(folder, (folder / "litellm_config.yaml").read_text(), POLICIES)


@pytest.fixture(scope="module")
def url(known: Registry) -> Iterator[str]:
    with served(Router(known)) as url:
        yield url


def ask(url: str, model: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=50)


def command(folder: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["explain", *options, "--config", str(folder / "litellm_config.yaml")])
    return done.exit_code, done.output


def test_by_id_on_the_command_line_and_over_http(folder: Path, url: str) -> None:
    identity = ask(url, "first").headers["x-scribe-request-id"]
    code, text = command(folder, "--id", identity)
    assert code == 0
    told = text.splitlines()
    assert told[0].startswith(f"{identity}, 20")
    assert ", local: answered in " in told[0]
    happened = told[told.index("what happened") + 2 :]
    assert [line.split()[1] for line in happened[:2]] == ["first", "second"]
    assert "server (500)  0    " in happened[0]
    assert "zero      model first; the provider failed (HTTP 500)" in happened[0]
    assert " answered " in happened[1]
    assert happened[3] == "sent nothing when its turn had come"
    assert happened[4].startswith("  -  dear  budget_exceeded: ")
    assert told[-1] == "planned again of the same facts, state and seed: the same plan"

    place = f"{url}/admin/exchanges/{identity}"
    assert httpx.get(place, params={"format": "text"}).text + "\n" == text
    found = httpx.get(place).json()
    line = next(json.loads(line) for line in (folder / "j.jsonl").read_text().splitlines() if identity in line)
    assert found == {**line, "reproduced": True, "verdict": told[-1]}


def test_a_request_that_had_no_plan(folder: Path, url: str) -> None:
    identity = ask(url, "frist").headers["x-scribe-request-id"]
    code, text = command(folder, "--id", identity)
    assert (code, text.splitlines()[1:]) == (
        0,
        [
            "no plan could be made: no model, group or alias is called frist, did you mean first?",
            "",
            "there is no plan to make again",
        ],
    )
    assert httpx.get(f"{url}/admin/exchanges/{identity}").json()["reproduced"] is None


@pytest.mark.parametrize(
    ("path", "status", "code", "param"),
    [
        ("ex-1", 404, "exchange_not_found", None),
        (f"ex-{'0' * 24}", 404, "exchange_not_found", None),
        ("ex-1?format=csv", 400, "invalid_parameter", "format"),
        ("ex-1?by=user", 400, "unknown_parameter", "by"),
    ],
)
def test_what_http_says_of_nonsense(url: str, path: str, status: int, code: str, param: str | None) -> None:
    answer = httpx.get(f"{url}/admin/exchanges/{path}")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)


def test_what_the_command_says_of_nonsense(folder: Path, tmp_path: Path) -> None:
    assert command(folder, "--id", "ex-1") == (
        1,
        "ex-1 is no id of an exchange: that is ex- and 24 digits, as in x-scribe-request-id\n",
    )
    assert command(folder, "first", "--id", "ex-1")[1] == "--id stands alone: a past request is explained as it was\n"
    registry_from(tmp_path, CONFIG.replace("BASE", "http://127.0.0.1:1/v1"))
    code, text = command(tmp_path, "--id", f"ex-{'0' * 24}")
    assert (code, text) == (
        1,
        "there is no journal to look into; switch it on with journal: FILE in policies/store.yaml\n",
    )


def test_the_header_on_answers_streams_and_errors(url: str) -> None:
    plain = ask(url, "first", ASK).headers["x-scribe-explain"]
    start = (
        "requested=first; tried=first>server,second>answered; passed=dear>budget_exceeded; planned=first,dear,second; "
    )
    assert plain.startswith(start)
    streamed = ask(url, "first", ASK, stream=True).headers["x-scribe-explain"]
    assert streamed.replace("second>answering", "second>answered").startswith(start), "it may have ended by then"
    refused = ask(url, "refused", ASK)
    assert refused.status_code == 400
    assert refused.headers["x-scribe-explain"].startswith("requested=refused; tried=refused>bad_request; planned=")
    unknown = ask(url, "frist", ASK)
    assert unknown.status_code == 404
    assert unknown.headers["x-scribe-explain"].startswith("requested=frist; configuration=")
    for headers in (None, {"x-scribe-explain": "0"}):
        assert "x-scribe-explain" not in ask(url, "second", headers).headers
    body = httpx.post(f"{url}/v1/chat/completions", content=b"{", headers={**ASK, "content-type": "application/json"})
    assert (body.status_code, "x-scribe-explain" in body.headers) == (400, False), "it never became an exchange"


def test_a_name_of_the_clients_starts_nothing_in_the_header(url: str) -> None:
    """A line break, a semicolon and letters beyond ASCII."""
    told = ask(url, "x; tried=y\r\nset-cookie: a=b é \N{SNOWMAN}" + "z" * 5_000, ASK)
    assert "set-cookie" not in told.headers
    assert told.headers["x-scribe-explain"].startswith("requested=x??tried?y??set-cookie:?a?b????z")
    assert len(told.headers["x-scribe-explain"]) < 200


def test_only_who_may(folder: Path, known: Registry, tmp_path: Path) -> None:
    assert may_explain(LOCAL)
    assert may_explain(MASTER)
    assert not may_explain(Principal("team-blue", "ann"))
    policies = {"access": "master_key: os.environ/SCRIBE_MASTER_KEY", "store": "ledger: sqlite:l\njournal: j.jsonl"}
    text = (folder / "litellm_config.yaml").read_text()
    with served(Router(registry_from(tmp_path, text, policies, {"SCRIBE_MASTER_KEY": KEY}))) as url:
        headers = {"authorization": f"Bearer {KEY}"}
        told = ask(url, "second", {**ASK, **headers}).headers
        assert told["x-scribe-explain"].startswith("requested=second; tried=second>answered; ")
        assert "x-scribe-explain" not in ask(url, "second", ASK).headers
        place = f"{url}/admin/exchanges/{told['x-scribe-request-id']}"
        assert httpx.get(place).status_code == 401
        assert httpx.get(place, headers=headers).json()["principal"] == "master"


# -- without a proxy

SMALL = {"deployments": [{"id": "a", "model": "m"}, {"id": "b", "model": "m", "missing": "KEY is not set"}]}


def planned(found: Registry) -> Plan:
    return plan(Facts("chat", "m"), found, Snapshot(TODAY, 7))


def past(made: Plan | None, version: str = "0123abcd") -> Record:
    exchange = Exchange(f"ex-{'0' * 24}", Call("chat", {"model": "m"}), LOCAL, version, 0.0, "m", plan=made)
    return Record.of(exchange)


def test_a_plan_that_comes_out_otherwise_is_a_fault() -> None:
    found = registry(SMALL)
    made = replace(planned(found), candidates=(*planned(found).candidates, planned(found).candidates[0]))
    assert faults(past(made), found) == ["candidates: ['a', 'a'] then, ['a'] now"]
    assert explained(past(made), found).splitlines()[-1] == (
        "FAULT: the same facts, state and seed give another plan now: candidates: ['a', 'a'] then, ['a'] now"
    )
    gone = replace(planned(found), facts=Facts("chat", "nobody"))
    assert faults(past(gone), found) == [
        "no plan is made any more: no model, group or alias is called nobody; /v1/models lists them"
    ]
    other = replace(planned(found), model="other")
    assert faults(replace(past(planned(found)), downgraded=(other,)), found) == ["model: other then, m now"]
    assert faults(past(planned(found)), found) == []


def test_a_fault_ends_the_command_with_one(folder: Path, known: Registry) -> None:
    identity = f"ex-{'f' * 24}"
    made = plan(Facts("chat", "second"), known, Snapshot(TODAY, 7))
    record = replace(past(replace(made, model="first"), known.version), id=identity)
    with (folder / "j.jsonl").open("ab") as file:
        file.write(record.line())
    code, text = command(folder, "--id", identity)
    assert (code, text.splitlines()[-1]) == (
        1,
        "FAULT: the same facts, state and seed give another plan now: model: first then, second now",
    )


def test_what_cannot_be_compared_says_why() -> None:
    found = registry(SMALL)
    made = planned(found)
    assert verdict(past(made, "older"), found) == ("not planned again: the configuration was older, now it is 0123abcd")
    assert verdict(replace(past(made), software="0.0.1"), found) == (
        f"not planned again: version 0.0.1 of this package planned it, this is {__version__}"
    )
    assert verdict(past(None), found) == "there is no plan to make again"
    text = explained(past(made, "older"), registry({"deployments": ["c"]}))
    assert "m (model): chat, configuration older" in text
    assert "  1.  a           gone      wire  unknown  gone                    model m" in text


def test_a_long_explanation_is_cut() -> None:
    rows = [{"id": f"a-long-name-of-a-deployment-{number}", "model": "m"} for number in range(100)]
    exchange = Exchange("ex-1", Call("chat", {"model": "m"}), LOCAL, "v", 0.0, "m")
    exchange.plan = planned(registry({"deployments": rows}))
    exchange.attempts = [Attempt("at-1", "a;b\n", "m", "p", "wire", 0.0, "via", ended=1.0, mark=Mark.ZERO)]
    exchange.passed = [Passed("c", "circuit_open", "why")]
    told = compact(exchange)
    assert len(told) == LONGEST
    assert told.startswith(
        "requested=m; tried=a?b?>answered; passed=c>circuit_open; planned=a-long-name-of-a-deployment-"
    )
    assert told.endswith("...")
    assert told.isascii()
    assert told.isprintable()


def test_a_line_of_another_version(tmp_path: Path, folder: Path) -> None:
    identity = f"ex-{'e' * 24}"
    with (folder / "j.jsonl").open("a") as file:
        file.write(json.dumps({"id": identity, "opened": 1.0, "software": "0.0.9"}, separators=(",", ":")) + "\n")
    code, text = command(folder, "--id", identity)
    assert (code, text) == (
        1,
        f"the line of {identity} was written by 0.0.9, this is {__version__}: look at it\n",
    )
