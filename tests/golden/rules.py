"""All that the two lanes may send differently: a closed list, for every case alike."""

from collections.abc import Callable
from dataclasses import dataclass

from scribe_router.exchange import Json

TRANSPORT = ("host", "content-length", "connection", "accept", "accept-encoding")


@dataclass(frozen=True)
class Rule:
    """What is taken out of a request (in place) before it is compared, and why that may differ."""

    reason: str
    take: Callable[[Json], object]


def _headers(request: Json, *names: str) -> None:
    request["headers"] = {name: value for name, value in request["headers"].items() if not name.startswith(names)}


def _said(part: str, **values: object) -> Callable[[Json], object]:
    """Takes these values out, and no others of their names."""

    def take(request: Json) -> None:
        left = request[part].items()
        request[part] = {name: value for name, value in left if values.get(name.replace("-", "_"), ...) != value}

    return take


RULES = (
    Rule("how the bytes travel is each client's own", lambda it: _headers(it, *TRANSPORT)),
    Rule("each lane says which client it is", lambda it: _headers(it, "user-agent")),
    Rule("OpenAI's client says what it runs on", lambda it: _headers(it, "x-stainless-")),
    Rule("LiteLLM's clients send a key where none is needed", _said("headers", authorization="Bearer none")),
    Rule("LiteLLM writes the default out", _said("body", stream=False)),
    Rule("LiteLLM asks OpenRouter for usage, which it always tells", _said("body", usage={"include": True})),
    Rule("LiteLLM signs for itself", _said("headers", http_referer="https://litellm.ai", x_title="liteLLM")),
)


def compared(request: Json) -> Json:
    """A request without what the rules take out."""
    left = dict(request)
    for rule in RULES:
        rule.take(left)
    return left
