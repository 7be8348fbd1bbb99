"""The benchmarks run, hold what they claim, and the page that one of them writes is current."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(name: str, *options: str, seconds: float = 550) -> str:
    command = [sys.executable, "-W", "ignore", str(ROOT / "bench" / name), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_cap_holds_and_the_page_says_so() -> None:
    table = run("budgets.py", "--check")
    assert len(table.splitlines()) == 2 + 6


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_ledger_costs_less_than_the_forward() -> None:
    assert "ledger alone" in run("ledger.py", "--quick")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_private_text_is_looked_for_in_time_that_grows_with_the_text() -> None:
    assert "names of passwords" in run("redaction.py", "--quick")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_access_check_costs_little_and_a_revoked_key_stops() -> None:
    assert "revocations on three processes" in run("access.py", "--quick", seconds=1400)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_plan_costs_little_and_no_more_among_a_thousand_deployments() -> None:
    assert "weighted" in run("planning.py", "--quick")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_dead_deployment_fails_nobody_and_slows_nobody() -> None:
    assert "its port is closed" in run("dead_deployment.py", "--quick")
