"""`check --resolved` of a small configuration, as a golden file; and LiteLLM's Router takes it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from scribe_router.cli import app
from tests.config.cases import FOLDER

CASE = FOLDER / "resolved"
SECRETS = {
    "OPENAI_API_KEY": "hunter2-a",
    "OPENAI_EU_API_KEY": "hunter2-b",
    "KIMI_API_KEY": "hunter2-c",
    "HOUSE_TOKEN": "hunter2-d",
    "TEAM_TOKEN": "hunter2-e",
    "OLLAMA_BASE": "http://hunter2:11434",
}


def output(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("os.environ", dict(environment))
    result = CliRunner().invoke(app, ["check", "--resolved", "--config", str(CASE / "litellm_config.yaml")])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_golden(monkeypatch: pytest.MonkeyPatch) -> None:
    assert output(SECRETS, monkeypatch) == (CASE / "expected.yaml").read_text(encoding="utf-8")


def test_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hunter2" not in output(SECRETS, monkeypatch)


def test_the_keys_named_are_those_that_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "os.environ/HOUSE_TOKEN" in output(SECRETS, monkeypatch)
    assert "os.environ/HOUSE_KEY" in output({**SECRETS, "HOUSE_KEY": "hunter2-f"}, monkeypatch)


def test_the_expected_file_is_a_file_of_the_case() -> None:
    assert sorted(path.name for path in Path(CASE).iterdir()) == ["expected.yaml", "litellm_config.yaml", "policies"]
