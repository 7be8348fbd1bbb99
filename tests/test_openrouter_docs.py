"""docs/openrouter.md is true: its commands and its YAML run as they stand, in its order."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from scribe_router.config.knowledge import SHIPPED
from tests.support.catalogues import listed, model
from tests.support.listing_host import hosting

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "openrouter.md").read_text(encoding="utf-8")
COMMAND = f"{shlex.quote(sys.executable)} -m scribe_router"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_commands_run(tmp_path: Path) -> None:
    [config] = blocks("yaml")
    (tmp_path / "litellm_config.yaml").write_text(config, encoding="utf-8")
    (tmp_path / "policies").mkdir()
    with hosting({"/api/v1/models": listed(model("anthropic/claude-sonnet-5.5"))}) as host:
        base = f"openrouter: {{regions: {{global: {{api_base: {host.url}/api/v1}}}}}}"
        (tmp_path / "policies" / "providers.yaml").write_text(base, encoding="utf-8")
        environment = {"PYTHONPATH": str(ROOT), "OPENROUTER_API_KEY": "any", "PATH": "/usr/bin:/bin"}
        script = "\n".join(blocks("sh")).replace("scribe-router ", f"{COMMAND} ")
        out = subprocess.run(
            ["sh", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100
        )
    assert out.returncode == 0, out.stdout + out.stderr
    assert "new      anthropic/claude-sonnet-5.5: prompt 2, completion 10" in out.stdout
    assert "(model): chat" in out.stdout
    assert "mode nitro" in out.stdout


def test_the_modes_are_the_shipped_ones() -> None:
    row = yaml.safe_load((SHIPPED / "policies" / "providers.yaml").read_text(encoding="utf-8"))["openrouter"]
    told = re.findall(r"^\| `:(\w+)` \| (.*?) \|(.*?)\|$", PAGE, re.MULTILINE)
    assert {mode for mode, _, _ in told} - {"free"} == set(row["modes"])
    wishes = {wish.strip(" `"): mode for mode, _, wish in told if wish.strip()}
    assert wishes == {wish: mode for wish, mode in row["optimize_for"].items() if mode}
    for mode, sent, _ in told:
        if sent.startswith("`provider"):
            assert yaml.safe_load(sent.strip("`")) == row["modes"][mode]


def test_no_catalogue_is_shipped() -> None:
    assert not list(SHIPPED.rglob("catalogues"))
