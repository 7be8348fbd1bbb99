"""Virtual keys as an operator handles them: on the command line, over HTTP, through a port of their own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from scribe_router.cli import app
from tests.support.proxy import Proxy, serving

MASTER = "sk-test-0123456789-abcdefghij"
CONFIG = """
model_list:
  - model_name: echo
    litellm_params: {model: openai/echo, api_base: "http://127.0.0.1:9/v1", api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}
"""
OPERATOR = {"authorization": f"Bearer {MASTER}"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "litellm_config.yaml").write_text(CONFIG)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "access.yaml").write_text("master_key: os.environ/SCRIBE_MASTER_KEY")
    monkeypatch.setenv("SCRIBE_MASTER_KEY", MASTER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def proxy(folder: Path) -> Iterator[Proxy]:
    with serving(folder, "--admin-port", "0") as running:
        yield running


def keys(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def said(*arguments: str) -> str:
    done = keys(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def audited(folder: Path) -> list[dict[str, Any]]:
    text = (folder / ".scribe" / "audit.jsonl").read_text()
    assert "sk-scribe-" not in text or "…" in text
    return [json.loads(line) for line in text.splitlines()]


def status(url: str, key: str) -> int:
    return httpx.get(f"{url}/v1/models", headers={"authorization": f"Bearer {key}"}, timeout=20).status_code


def test_on_the_command_line(folder: Path) -> None:
    assert said("list") == "there is no key yet; scribe-router keys create makes one"
    first = said("create", "ann", "--model", "echo", "--team", "blue", "--expires", "90d", "--by", "ops")
    shown = json.loads(said("show", "ann"))
    assert (shown["name"], shown["team"], shown["models"]) == ("ann", "blue", ["echo"])
    assert shown["expires"] - shown["created"] == pytest.approx(90 * 86400, abs=5)
    second = said("rotate", "ann", "--grace", "1h")
    assert first != second
    assert said("revoke", shown["id"]) == "ok: ann opens nothing any more"
    assert said("revoke", "ann") == "ok: ann opens nothing any more"
    assert "revoked" in said("list")
    kept = "".join(path.read_bytes().decode("latin-1") for path in (folder / ".scribe").iterdir() if path.is_file())
    for secret in (first[-43:], second[-43:]):
        assert secret not in kept + said("list", "--format", "json") + said("show", "ann")
    acts = [(each["act"], each["actor"], each["key"]) for each in audited(folder)]
    assert acts[0] == ("keys.create", "ops", "ann")
    assert [act for act, *_ in acts] == ["keys.create", "keys.rotate", "keys.revoke", "keys.revoke"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["create", "ann", "--model", "ecko"], "models: no model, group or alias is called ecko, did you mean echo?"),
        (["create", "ann", "--model", "x*"], "models: no model, group or alias is called x*"),
        (["create", "Ann", "--model", "*"], "name: string should match pattern"),
        (["create", "master", "--model", "*"], "name: master is a name of the router's own; choose another"),
        (["create", "ann", "--model", "*", "--field", "usr"], "fields: there is no field usr, did you mean user?"),
        (["create", "ann", "--model", "*", "--expires", "2020-01-01"], "expires: that is over"),
        (["create", "ann", "--model", "*", "--expires", "soon"], "expires: a time such as 24h or 90d, not soon"),
        (["create", "ann", "--model", "*", "--address", "10.0.0.1/8"], "addresses: expected an address or a network"),
        (["show", "nobody"], "there is no key nobody"),
        (["rotate", "nobody"], "there is no key nobody"),
        (["revoke", "nobody"], "there is no key nobody"),
        (["list", "--format", "csv"], "--format: table or json, not csv"),
    ],
)
def test_what_makes_no_sense(folder: Path, arguments: list[str], problem: str) -> None:
    done = keys(*arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith(problem)


def test_a_name_stays(folder: Path) -> None:
    said("create", "ann", "--model", "*")
    said("revoke", "ann")
    assert "a name stays for good" in keys("create", "ann", "--model", "*").stderr
    assert "was revoked" in keys("rotate", "ann").stderr
    assert "30d more at most" in keys("rotate", "ann", "--grace", "31d").stderr
    assert audited(folder)[2]["outcome"] == "name_taken"


def test_without_a_policy_there_are_no_keys(folder: Path) -> None:
    (folder / "policies" / "access.yaml").unlink()
    assert "virtual keys need policies/access.yaml" in keys("list").stderr


def test_over_http_and_through_a_port_of_its_own(proxy: Proxy, folder: Path) -> None:
    (line,) = [line for line in proxy.output if line.startswith("/admin is at port ")]
    admin = f"http://127.0.0.1:{line.split()[4]}"
    with httpx.Client(base_url=admin, headers=OPERATOR, timeout=20) as operator:
        made = operator.post("/admin/keys", json={"name": "ann", "models": ["echo"]}).json()
        assert status(proxy.url, made["key"]) == 200
        assert [each["name"] for each in operator.get("/admin/keys").json()["keys"]] == ["ann"]
        assert operator.get("/admin/keys/ann").json() == {n: each for n, each in made.items() if n != "key"}
        newer = operator.post("/admin/keys/ann/rotate", json={"grace": 0}).json()["key"]
        assert (status(proxy.url, made["key"]), status(proxy.url, newer)) == (401, 200)
        assert operator.post("/admin/keys/ann/revoke", json={}).json()["revoked"] is not None
        assert status(proxy.url, newer) == 401
        wrong = operator.post("/admin/keys", json={"name": "bob", "modles": ["echo"]}).json()["error"]
        assert (wrong["param"], wrong["code"]) in (("models", "invalid_value"), ("modles", "invalid_value"))
        assert operator.post("/admin/keys/ann/rotate", json={"grcae": 0}).status_code == 400
        for path in ("/admin/keys", "/admin/spend", "/admin/deployments", "/admin/limits"):
            absent = httpx.get(proxy.url + path, headers=OPERATOR)
            assert (absent.status_code, absent.json()["error"]["code"]) == (404, "http_404")
            assert httpx.get(proxy.url + path).status_code == 401
            assert operator.get(path).status_code == 200
        for path in ("/v1/models", "/openapi.json"):
            assert operator.get(path).status_code == 404
        assert httpx.get(f"{admin}/admin/keys").status_code == 401
    found = audited(folder)
    changes = [each["act"] for each in found if each["act"].startswith("keys.")]
    assert changes == ["keys.create", "keys.rotate", "keys.revoke"]
    refusals = [each for each in found if each["outcome"] == "invalid_api_key" and "key_id" in each]
    assert {each["key_id"] for each in refusals} == {made["id"]}
    assert {each["address"] for each in refusals} == {"127.0.0.1"}
    for secret in (made["key"], newer, MASTER):
        assert secret not in (folder / ".scribe" / "audit.jsonl").read_text()
        assert secret not in "".join(proxy.output)
