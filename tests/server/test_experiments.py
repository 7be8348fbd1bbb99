"""`POST /v1/experiments/outcome`, and `scribe-router experiment report` of what came in."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from scribe_router import Router
from scribe_router.cli import app
from scribe_router.errors import OutcomeNotFound
from scribe_router.sandbox import running_sandbox
from tests.support.proxy import serving
from tests.test_experiments import CONFIG, MESSAGES, TRIAL, body


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with running_sandbox() as sandbox:
        (tmp_path / "litellm_config.yaml").write_text(CONFIG.replace("BASE", sandbox.url + "/v1"))
        (tmp_path / "policies").mkdir()
        (tmp_path / "policies" / "store.yaml").write_text("ledger: sqlite:l.sqlite3")
        (tmp_path / "policies" / "experiments.yaml").write_text(TRIAL)
        yield tmp_path


@pytest.mark.timeout(240)
def test_over_http_and_in_the_report(folder: Path) -> None:
    arms: dict[int, str] = {}
    for _ in range(2):  # what a unit has, it has after a restart
        with serving(folder) as proxy, httpx.Client(base_url=proxy.url, timeout=30) as client:
            for number in range(6):
                answer = client.post("/v1/chat/completions", json=body(f"unit-{number}"))
                arm = answer.headers["x-scribe-experiment"]
                assert arms.setdefault(number, arm) == arm
                said = {"request_id": answer.headers["x-scribe-request-id"], "success": number % 2 == 0}
                told = client.post("/v1/experiments/outcome", json=said)
                assert (told.status_code, f"trial={told.json()['arm']}") == (200, arm)
            unknown = client.post("/v1/experiments/outcome", json={"request_id": "ex-1", "score": 1})
            assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "request_not_found")
    found = json.loads(report(folder, "--format", "json"))
    assert {each["arm"]: each["units"] for each in found["arms"]} == {
        arm: list(arms.values()).count(f"trial={arm}") for arm in ("today", "new")
    }
    assert [each["exposures"] for each in found["arms"]] == [2 * each["units"] for each in found["arms"]]
    assert all(each["measures"]["success_rate"]["n"] == each["exposures"] for each in found["arms"])
    today, new = found["arms"]
    assert today["measures"]["cost_usd"]["value"] == pytest.approx(0.0012)
    assert new["measures"]["latency_mean_s"]["difference"]["low"] is not None


def report(folder: Path, *options: str, name: str = "trial") -> str:
    place = ["--config", str(folder / "litellm_config.yaml")]
    done = CliRunner().invoke(app, ["experiment", "report", name, *options, *place])
    return done.output


def test_a_report_on_nothing(folder: Path) -> None:
    assert "there is no ledger at" in report(folder)
    with serving(folder) as proxy:
        httpx.post(f"{proxy.url}/v1/chat/completions", json={"model": "other", "messages": MESSAGES}, timeout=30)
    assert "nothing has been measured yet" in report(folder)
    assert report(folder, name="trail") == "there is no experiment trail, did you mean trial?\n"
    assert report(folder, "--format", "xml") == "--format: table or csv or json, not xml\n"
    assert report(folder, "--since", "now") == "--since: a day such as 2026-11-20, not now\n"


def test_in_a_job_that_is_not_asynchronous(folder: Path) -> None:
    router = Router.from_yaml(folder / "litellm_config.yaml")
    with pytest.raises(OutcomeNotFound, match="the ledger has no request ex-1: it had no attempt"):
        router.outcome("ex-1", success=True)
    router.close()
