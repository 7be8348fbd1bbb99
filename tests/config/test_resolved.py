"""`check --resolved` of a small configuration, as a golden file; and LiteLLM's Router takes it."""

from pathlib import Path

import pytest
import yaml
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


LITERAL = """
model_list:
  - model_name: a
    litellm_params:
      model: openai/gpt-6-luna
      api_key: hunter2-a
      api_base: "https://llm.example.com/v1?api-key=hunter2-b&version=2"
      organization: acme
      extra_headers: {X-Auth: hunter2-c, Authorization: os.environ/TOKEN, X-Own: mine}
      aws_secret_access_key: hunter2-d
router_settings: {redis_url: "redis://user:hunter2-e@cache:6379/0", redis_password: hunter2-f}
general_settings:
  {custom_auth: keys.who, master_key: hunter2-g, database_url: "postgresql://hunter2-h@db/litellm", keys: [hunter2-i]}
environment_variables: {LANGFUSE_SECRET_KEY: hunter2-j, LANGFUSE_HOST: "https://traces.example.com"}
"""


def test_what_the_file_holds_itself_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "litellm_config.yaml"
    path.write_text(LITERAL, encoding="utf-8")
    result = CliRunner().invoke(app, ["check", "--resolved", "--config", str(path)])
    assert result.exit_code == 0, result.stderr
    assert "hunter2" not in result.output
    assert result.stderr.splitlines()[-1] == (
        "note: *** stands for what the file holds itself; write os.environ/NAME there"
    )
    shown = yaml.safe_load(result.stdout)
    assert shown["general_settings"]["custom_auth"] == "keys.who", "a place in code, that LiteLLM's proxy has to find"
    params = shown["model_list"][0]["litellm_params"]
    assert params["extra_headers"] == {"X-Auth": "***", "Authorization": "os.environ/TOKEN", "X-Own": "mine"}
    assert (params["api_base"], params["organization"]) == ("https://llm.example.com/v1?api-key=***&version=2", "acme")
    assert shown["router_settings"]["redis_url"] == "redis://***@cache:6379/0"
    assert shown["environment_variables"] == {
        "LANGFUSE_SECRET_KEY": "***",
        "LANGFUSE_HOST": "https://traces.example.com",
    }
