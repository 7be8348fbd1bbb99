"""What the planner looks at in a request. Knows a call's body; never what is configured for it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scribe_router.exchange import Api, Call, Lane, Level
from scribe_router.policies.effort import EffortPolicy
from scribe_router.policies.features import FeaturesPolicy
from scribe_router.policies.reasoning import CONTROLS, Asked, asked, asking


@dataclass(frozen=True, slots=True)
class Facts:
    """What the planner looks at in a request. `letters` are those of its messages, `task` is what its metadata says,
    `search` whether it wants a web search (None: it does not say)."""

    api: Api
    model: str
    tools: bool = False
    search: bool | None = None
    wish: Asked | None = None
    letters: int = 0
    task: str | None = None
    fallback_enabled: bool = True
    provider: str | None = None
    lane: Lane | None = None

    @property
    def effort(self) -> Level | None:
        """The level of reasoning that is wished for."""
        return None if self.wish is None else self.wish.level


def allowed(call: Call, features: FeaturesPolicy) -> tuple[Call, list[str]]:
    """The call without what is switched off, and what was taken out, in words. Raises `InvalidRequest`."""
    body, said = features.without(call.body, asking(call.body), CONTROLS)
    return (call if len(body) == len(call.body) else replace(call, body=body)), said


def facts(call: Call, policy: EffortPolicy) -> Facts:
    """The facts of a call, read from its body and its options; `policy` says what an effort of `auto` is."""
    tools = bool(call.body.get("tools") or call.body.get("functions"))
    letters = _letters(call.body.get("messages"))
    metadata = call.body.get("metadata")
    task = metadata.get("task") if isinstance(metadata, Mapping) else None
    task = task if isinstance(task, str) else None
    provider, search = call.body.get("provider"), call.body.get("enable_search")
    return Facts(
        api=call.api,
        model=call.model,
        wish=asked(call.body, (), policy.chosen(tools=tools, letters=letters, task=task)),
        letters=letters,
        task=task,
        tools=tools,
        search=search if isinstance(search, bool) else None,
        fallback_enabled=call.body.get("fallback_enabled") is not False,
        provider=call.options.provider or (provider if isinstance(provider, str) else None),
        lane=call.options.lane,
    )


def _letters(messages: Any) -> int:
    """Of whatever the messages are: `explain` plans what nobody has admitted."""
    contents = [each.get("content") for each in _listed(messages) if isinstance(each, Mapping)]
    texts = [part.get("text") for content in contents for part in _listed(content) if isinstance(part, Mapping)]
    return sum(len(text) for text in (*contents, *texts) if isinstance(text, str))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
