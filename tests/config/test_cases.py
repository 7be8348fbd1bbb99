"""Every golden file, through the loader's own command: the whole lines, in order, and the exit code."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scribe_router.cli import app
from tests.config.cases import FOLDER, Case, cases

CASES = cases()


def check(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    case.write(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("os.environ", dict(case.environment))
    return CliRunner().invoke(app, ["check", "--config", "litellm_config.yaml"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = check(case, tmp_path, monkeypatch)
    errors = sum(": warning: " not in line for line in case.expected)
    count = [f"{errors} error{'s' if errors != 1 else ''}"] if errors else []
    assert result.stderr.splitlines() == [*case.expected, *count]
    assert result.exit_code == (1 if errors else 0)
    assert ("ok: " in result.stdout) == (not errors)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_says_what_it_is_about(case: Case) -> None:
    first = (FOLDER / f"{case.name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert case.expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_value_of_the_environment_is_shown(case: Case) -> None:
    shown = "\n".join(case.expected)
    assert not [value for value in case.environment.values() if len(value) > 1 and value in shown]
    assert "hunter2" not in shown
    assert "1234567" not in shown
