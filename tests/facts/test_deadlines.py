"""Facts about models that end."""

from datetime import date
from pathlib import Path

import pytest
import yaml

from scribe_router.config.load import load_config
from tests.facts.conftest import Fact
from tests.facts.subjects import bundled_prices

pytestmark = pytest.mark.asyncio(loop_scope="session")
ENDING = (
    "anthropic/claude-sonnet-4-5",
    "gemini/gemini-2.5-pro",
    "gemini/gemini-2.5-flash",
    "openai/gpt-5",
    "openai/o3",
    "openai/gpt-4o",
    "openai/gpt-4.1",
)


def lines(folder: Path, today: date) -> list[str]:
    """What `check` says on a day of a configuration with these models."""
    entries = [{"model_name": name, "litellm_params": {"model": name}} for name in ENDING]
    config = folder / "litellm_config.yaml"
    config.write_text(yaml.safe_dump({"model_list": entries}), encoding="utf-8")
    found = load_config(config, today=today)
    assert found.registry is not None, "a warning stops nobody"
    return [str(each).removeprefix(f"{folder}/") for each in found.problems]


async def test_a_model_that_ends_is_told(fact: Fact, tmp_path: Path) -> None:
    """Seven models on 2026-12-15: the last days that LiteLLM's map has, and the lines that `check` prints."""
    if fact.plain:
        with bundled_prices() as table:
            rows = {name: table.get(name) or table[name.partition("/")[2]] for name in ENDING}
        fact.shows({name: row.get("deprecation_date") for name, row in rows.items()})
        return
    assert len(lines(tmp_path, date(2026, 11, 20))) == 5
    fact.shows(lines(tmp_path, date(2026, 12, 15)))
