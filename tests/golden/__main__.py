"""`python -m tests.golden [--write]`: the lines of `wire.yaml` that have to say something else, or to say it at all.

Nothing is right because it was written here: read the difference, and commit what you meant.
"""

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from scribe_router.exchange import Json
from tests.golden.cases import CASES, Case, patch_of, table, usual, written
from tests.golden.collect import Arrived, collected
from tests.golden.rules import compared


def line_for(line: Json, text: str, case: Case, arrived: Arrived) -> str:
    """The line's text with what arrived; as it is where nothing can carry the request, or lanes differ."""
    ways = [compared(each) for said in arrived[case.name].values() for each in said["requests"]]
    if not ways or any(each != ways[0] for each in ways):
        print(f"# {case.name[:100]}: {'lanes differ' if ways else arrived[case.name]['litellm']['refused']}")
        return text
    own = re.sub(r", sends: .*", "}", text)
    return f"{own[:-1]}, sends: {flow(patch_of(usual(line), ways[0]))}}}" if ways[0] != usual(line) else own


def flow(value: Any) -> str:
    """Flow style, with the names that `let` gives."""
    text = _dumped(value)
    for name, named in zip(re.findall(r"^  - &(\w+)", SOURCE, re.MULTILINE), table()["let"], strict=True):
        text = text.replace(_dumped(named), f"*{name} ")
    return text


def _dumped(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9).strip()


PATH = CASES / "wire.yaml"
SOURCE = PATH.read_text(encoding="utf-8")
with tempfile.TemporaryDirectory() as folder:
    ARRIVED = collected(Path(folder))
LINES = SOURCE.split("\n")
PLACES = [index for index, text in enumerate(LINES) if text.startswith("- {model: ")]
for place, line, case in zip(PLACES, table()["cases"], written(), strict=True):
    meant = line_for(line, LINES[place], case, ARRIVED)
    if meant != LINES[place]:
        print(meant)
        LINES[place] = meant
if "--write" in sys.argv:
    PATH.write_text("\n".join(LINES), encoding="utf-8")
