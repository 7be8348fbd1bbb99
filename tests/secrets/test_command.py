"""`scribe-router secrets`: a value goes in by standard input and never comes out."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scribe_router.cli import app
from scribe_router.secrets.encrypted import Keys, SecretsFile, new_key

CANARY = "sk-canary-0123456789"
ROOT = Path(__file__).parents[2]


class Command:
    """The command in one folder, with one environment."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        (folder / "policies").mkdir()
        (folder / "litellm_config.yaml").write_text("model_list: []\n")

    def __call__(self, *arguments: str, typed: str = "") -> Result:
        place = ["--config", str(self.folder / "litellm_config.yaml")]
        result = CliRunner(env={**os.environ, **self.environment}).invoke(
            app, ["secrets", *arguments, *place], input=typed
        )
        assert CANARY not in result.output
        return result

    def stored(self, name: str = ".scribe/secrets") -> dict[str, str]:
        found = SecretsFile(self.folder / name, Keys.of(self.environment)).read()
        return {name: secret.value for name, secret in found.items()}


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.delenv("MOBIUS_MASTER_KEY", raising=False)
    return Command(tmp_path, {"SCRIBE_SECRETS_KEY": new_key()})


def test_a_life(command: Command) -> None:
    assert "set openai in " in command("set", "openai", typed=f"{CANARY}\n").stdout
    assert "set other in " in command("set", "other", typed="two\nlines\n").stdout
    assert command.stored() == {"openai": CANARY, "other": "two\nlines"}
    assert "replaced openai in " in command("set", "openai", typed=CANARY + "2").stdout
    assert [line.split()[0] for line in command("list").stdout.splitlines()] == ["openai", "other"]
    assert "removed other from " in command("remove", "other").stdout
    assert command.stored() == {"openai": CANARY + "2"}
    wrong = command("remove", "openay")
    assert (wrong.exit_code, wrong.stderr.count("did you mean openai?")) == (1, 1)


def test_a_new_key(command: Command) -> None:
    command("set", "openai", typed=CANARY)
    old = command.environment["SCRIBE_SECRETS_KEY"]
    new = CliRunner().invoke(app, ["secrets", "key"]).stdout.strip()
    assert command("rotate").stderr.startswith("put a new key before the one in use")
    command.environment["SCRIBE_SECRETS_KEY"] = f"{new},{old}"
    assert "1 secrets in " in command("rotate").stdout
    command.environment["SCRIBE_SECRETS_KEY"] = new
    assert command.stored() == {"openai": CANARY}
    command.environment["SCRIBE_SECRETS_KEY"] = old
    failed = command("list")
    assert failed.exit_code == 1
    assert "was written with the key" in failed.stderr
    assert old not in failed.stderr


@pytest.mark.parametrize("arguments", [["set", "openai", CANARY], ["set", "openai", "--", CANARY]])
def test_a_value_on_the_command_line_is_refused_and_not_repeated(command: Command, arguments: list[str]) -> None:
    result = command(*arguments)
    assert result.exit_code == 1
    assert "the value is not taken from the command line" in result.stderr
    assert not (command.folder / ".scribe").exists()


def test_without_a_key(command: Command) -> None:
    command.environment = {"SCRIBE_SECRETS_KEY": ""}
    result = command("set", "openai", typed=CANARY)
    assert result.exit_code == 1
    assert result.stderr.startswith("SCRIBE_SECRETS_KEY is not set")


def test_the_file_that_the_policy_names(command: Command) -> None:
    policy = command.folder / "policies" / "secrets.yaml"
    policy.write_text("file: os.environ/PLACE:kept/here\nenvironment: {A: secret/openai}\n")
    assert command("set", "openai", typed=CANARY).exit_code == 0
    assert command.stored("kept/here") == {"openai": CANARY}
    policy.write_text("fil: x\n")
    assert "unknown key, did you mean file?" in command("set", "openai", typed=CANARY).stderr


def test_a_prompt_does_not_echo(command: Command) -> None:
    """On a terminal the value is asked for twice, and not shown."""
    leader, follower = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "scribe_router", "secrets", "set", "openai"],
        cwd=command.folder,
        env={**os.environ, **command.environment, "PYTHONPATH": str(ROOT)},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    seen = b""
    for _ in range(2):
        while not seen.endswith(b": "):  # the space comes when the echo is off and what was typed before is dropped
            seen += os.read(leader, 1024)
        seen += b"|"
        os.write(leader, CANARY.encode() + b"\n")
    while running.poll() is None or b"set openai" not in seen:
        seen += os.read(leader, 1024)
        if b"secret/openai" in seen:
            running.wait(20)
    os.close(leader)
    assert command.stored() == {"openai": CANARY}
    assert CANARY.encode() not in seen
