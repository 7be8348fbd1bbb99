"""The fixture `fact`: a test asks plain LiteLLM and our router the same, and tests/cases/facts.yaml has the answers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from scribe_router.exchange import Json
from tests.facts.subjects import Ask, OurRouter, PlainLiteLLM, Seen, Subject, seen
from tests.support.litellm_clients import close_litellm_clients
from tests.support.yaml_text import RouterFrom

ROWS: list[Json] = yaml.safe_load((Path(__file__).parent.parent / "cases" / "facts.yaml").read_text(encoding="utf-8"))
BY_TEST: dict[str, Json] = {row["test"]: row for row in ROWS}
HELLO = [{"role": "user", "content": "hi"}]


@dataclass
class Fact:
    """One row, and who is asked now. `plain` says that it is LiteLLM by itself."""

    row: Json
    plain: bool
    subject: Subject
    shown: list[Any] = field(default_factory=list)

    async def ask(
        self,
        model: str,
        *,
        usage: Json | None = None,
        extra: Json | None = None,
        params: Json | None = None,
        **body: Any,
    ) -> Seen:
        """What a request leads to. `usage` and `extra` are of the provider's reply, `params` of the deployment."""
        return await seen(self.subject, Ask(model, {"messages": HELLO, **body}, params or {}, usage, extra))

    def shows(self, found: Any) -> None:
        """Compare what was found with the row. What LiteLLM does by itself is held as well: one day it may be right."""
        self.shown.append(found)
        if not self.plain:
            assert found == self.row["right"]
        elif self.row["holds"] == "pinned":
            assert found == self.row["right"], f"fact {self.row['fact']}: LiteLLM is not right any more; it now differs"
        else:
            assert found != self.row["right"], f"fact {self.row['fact']}: LiteLLM is right by now; it can be `pinned`"
            assert found == self.row["plain"], f"fact {self.row['fact']}: LiteLLM does something else by now"


@pytest_asyncio.fixture(loop_scope="session", params=["plain LiteLLM", "ours"])
async def fact(request: pytest.FixtureRequest, router: RouterFrom) -> AsyncIterator[Fact]:
    plain = request.param != "ours"
    row = BY_TEST[request.function.__name__]
    one = Fact(row, plain, PlainLiteLLM() if plain else OurRouter(router))
    yield one
    await close_litellm_clients()
    assert one.shown, "the test compares nothing"
