"""What the planner looks at in a request. Knows a call's body; never what is configured for it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from scribe_router.contents import Contents, parts, texts
from scribe_router.exchange import Api, Call, Lane, Level, OptimizeFor
from scribe_router.policies import residency
from scribe_router.policies.effort import EffortPolicy
from scribe_router.policies.features import FeaturesPolicy
from scribe_router.policies.reasoning import CONTROLS, Asked, asked, asking, forced_tool
from scribe_router.policies.routing import RoutingPolicy
from scribe_router.policies.tokens import NO_SIZE, Counted, Size
from scribe_router.principals import ANYWHERE, EVERYTHING, Demand, Grant
from scribe_router.values import value

_CAPS = ("max_completion_tokens", "max_tokens")
_WISHES = get_args(OptimizeFor)


@value
class Facts:
    """What the planner looks at in a request. `letters` are those of its messages or its prompt, `size` is what takes
    room in a window, `task` is what its metadata says, or what the rules make of it; `cap` is the output cap
    (tokens) that it names, `search` whether it wants a web search (None: it does not say), `links` what its
    messages point to. `unit` is a digest of what experiments divide: what its metadata names, else its user, else
    its key. `models` are patterns of what its principal may ask for, `demand` is what is demanded of where it is
    served."""

    api: Api
    model: str
    tools: bool = False
    images: bool = False
    audio: bool = False
    json_schema: bool = False
    search: bool | None = None
    forces_tool: bool = False
    links: frozenset[str] = frozenset()
    wish: Asked | None = None
    letters: int = 0
    cap: int | None = None
    task: str | None = None
    optimize_for: OptimizeFor | None = None
    fallback_enabled: bool = True
    provider: str | None = None
    lane: Lane | None = None
    unit: str = ""
    models: tuple[str, ...] = EVERYTHING.models
    demand: Demand = ANYWHERE
    size: Size = NO_SIZE

    @property
    def needs(self) -> tuple[str, ...]:
        """What a model has to take for this request."""
        if self.api != "chat" or not (self.images or self.tools or self.json_schema or self.audio):
            return ()
        asked = {"vision": self.images, "tools": self.tools, "json_schema": self.json_schema, "audio": self.audio}
        return tuple(ability for ability, needed in asked.items() if needed)

    @property
    def effort(self) -> Level | None:
        """The level of reasoning that is wished for."""
        return None if self.wish is None else self.wish.level


def allowed(call: Call, features: FeaturesPolicy) -> tuple[Call, list[str]]:
    """The call without what is switched off, and what was taken out, in words. Raises `InvalidRequest`."""
    if features.all_on:
        return call, []
    body, said = features.without(call.body, asking(call.body), CONTROLS)
    return (call if len(body) == len(call.body) else replace(call, body=body)), said


def facts(
    call: Call,
    effort: EffortPolicy,
    routing: RoutingPolicy,
    who: str = "",
    grant: Grant = EVERYTHING,
    counted: tuple[Counted, ...] = (),
) -> Facts:
    """The facts of a call, read from its body and its options; the policies say what its task is, and what an effort of
    `auto` means. `who` asks, where the call does not say, and the grant is what that principal may; `counted` are the
    tokens that its texts have, as far as a tokenizer was asked. Raises `InvalidRequest` for a demand that is none."""
    body = call.body
    metadata, provider, wish = body.get("metadata"), body.get("provider"), body.get("optimize_for")
    labels = metadata if isinstance(metadata, Mapping) else {}
    task, search = labels.get("task"), body.get("enable_search")
    inside = Contents(call.api, body)
    found = Facts(
        api=call.api,
        model=call.model,
        tools=bool(body.get("tools") or body.get("functions")),
        forces_tool=bool(body.get("tools")) and forced_tool(body) is not None,
        images="image_url" in inside.kinds,
        audio="input_audio" in inside.kinds,
        links=inside.links() if call.api == "chat" else frozenset(),
        json_schema=inside.schema is not None,
        search=search if isinstance(search, bool) else None,
        letters=inside.letters(),
        cap=_cap(body),
        task=task if isinstance(task, str) else None,
        optimize_for=wish if wish in _WISHES else None,
        fallback_enabled=body.get("fallback_enabled") is not False,
        provider=call.options.provider or (provider if isinstance(provider, str) else None),
        lane=call.options.lane,
        unit=_digest(_unit(call, labels) or who),
        models=grant.models,
        demand=residency.asked(body, grant.demand),
        size=inside.size(counted),
    )
    if found.task is None and routing.tasks:
        found = replace(found, task=routing.task(found, _last_of_user(inside.messages)))
    wish = asked(body, (), effort.chosen(found))
    return found if wish is None else replace(found, wish=wish)


def _cap(body: Mapping[str, Any]) -> int | None:
    for name in _CAPS:
        given = body.get(name)
        if isinstance(given, int) and given > 0:
            return given
    return None


def _unit(call: Call, labels: Mapping[str, Any]) -> str:
    """What the request itself says that it belongs to; empty where it does not say."""
    for each in (labels.get("experiment_unit"), call.options.user, call.body.get("user")):
        if isinstance(each, str) and each:
            return each
    return ""


def _digest(unit: str) -> str:
    """A person's name has no place in a plan."""
    return hashlib.blake2b(unit.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest() if unit else ""


def _last_of_user(said: Sequence[Mapping[str, Any]]) -> str:
    last = [each for each in said if each.get("role") == "user"][-1:]
    return "\n".join(texts(last, parts(last)))
