"""`check` and `explain` are for every save of a file: they finish without LiteLLM, which takes seconds to import."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import sys
from scribe_router.cli import main
sys.argv = ["scribe-router", *{arguments!r}]
try:
    main()
except SystemExit as end:
    print("exit", end.code)
print("heavy", sorted(name for name in ("litellm", "openai", "aiohttp", "fastapi", "httpx") if name in sys.modules))
"""


@pytest.mark.parametrize(
    "arguments", [["check"], ["check", "--resolved"], ["explain", "reasoning"], ["models"]], ids=" ".join
)
def test_without_litellm(arguments: list[str]) -> None:
    program = PROGRAM.format(arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={"OPENAI_API_KEY": "x"},
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-2:] == ["exit 0", "heavy []"]


def test_the_command_ends_with_one_when_anything_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "litellm_config.yaml").write_text("model_list: []\n", encoding="utf-8")
    command = [sys.executable, "-m", "scribe_router", "check", "--config", "litellm_config.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "litellm_config.yaml:1:13: model_list: expected at least 1 in this list\n1 error\n"
