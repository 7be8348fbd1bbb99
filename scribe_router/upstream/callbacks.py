"""LiteLLM's hooks and the shapes that it gives them: what a call looks like there, and when it begins and ends.

Inside our own path they do nothing. Elsewhere they lead to four verbs, which `scribe_router.callbacks` fills in; here
nothing is known of configuration, limits or the ledger. Only `Refusal` is raised into LiteLLM: it is the one kind of
exception that ends a request at once, without retries, fallbacks and cooldowns.
"""

import json
import os
import weakref
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scribe_router.errors import InvalidRequest, RequestError
from scribe_router.exchange import Api, AttemptFailed, Call, Category, Json, Reached
from scribe_router.policies.parameters import admit, refused
from scribe_router.policies.reasoning import CONTROLS
from scribe_router.principals import Principal
from scribe_router.upstream.failures import from_exception
from scribe_router.upstream.litellm_lane import as_arguments
from scribe_router.upstream.mark import is_ours
from scribe_router.upstream.quiet import SETTINGS
from scribe_router.upstream.shape import CAPS, Shaped

os.environ.update({name: value for name, value in SETTINGS.items() if name not in os.environ})

from litellm.exceptions import GuardrailRaisedException
from litellm.integrations.custom_logger import CustomLogger

MARK = "scribe_router_attempt"  # where LiteLLM's log of a call names our attempt
_APIS: Mapping[str, Api] = {"acompletion": "chat", "aembedding": "embeddings"}
_OTHER_CAPS = ("max_output_tokens", "generationConfig", "generation_config")


class Refusal(GuardrailRaisedException):
    """One of our errors in the only class that LiteLLM neither retries nor falls back from."""

    def __init__(self, error: RequestError) -> None:
        super().__init__("scribe_router", error.message, False, error.status)
        self.type, self.code, self.param = error.type, error.code, error.param
        self.headers = error.headers()


@dataclass(frozen=True, slots=True)
class Hooked:
    """A call as LiteLLM shows it to a hook. `kind` is LiteLLM's name for the API; `api` is ours, None if we have none.

    Two calls may have one `litellm_call_id` (a client of LiteLLM's proxy chooses it), never one log.
    """

    kwargs: Mapping[str, Any]
    kind: str

    @classmethod
    def of(cls, kwargs: Mapping[str, Any], call_type: Any) -> "Hooked":
        return cls(kwargs, str(getattr(call_type, "value", call_type)))

    @property
    def api(self) -> Api | None:
        return _APIS.get(self.kind)

    @property
    def log(self) -> Any:
        """LiteLLM's log of the call. It lives as long as the call; in LiteLLM's proxy, retries share it."""
        return self.kwargs["litellm_logging_obj"]

    @property
    def details(self) -> dict[str, Any]:
        """What that log hands to its events."""
        return self.log.model_call_details  # type: ignore[no-any-return]

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What LiteLLM's Router and proxy say about the call. They take out what a client puts there in their name."""
        return _mapping(self.kwargs.get("metadata"))

    @property
    def model(self) -> str:
        return str(self.kwargs.get("model") or "")

    @property
    def deployment(self) -> str:
        return str(_mapping(self.metadata.get("model_info")).get("id") or "")

    @property
    def exchange(self) -> str:
        return f"litellm-{str(self.kwargs.get('litellm_trace_id') or '')[:64]}"

    @property
    def principal(self) -> Principal:
        """Who pays. In LiteLLM's proxy the user of the key, else the key itself: never the request's own `user`, which
        a client fills in as it likes. Without a proxy it is the operator's own code that fills it in."""
        seen = self.metadata
        if "user_api_key_hash" not in seen:
            return Principal("litellm", str(self.kwargs.get("user") or "local"))
        key = str(seen.get("user_api_key_alias") or seen.get("user_api_key_hash") or "anonymous")
        team = str(seen.get("user_api_key_team_alias") or seen.get("user_api_key_team_id") or "")
        return Principal(key, str(seen.get("user_api_key_user_id") or f"key:{key}"), team)

    def call(self, api: Api) -> Call:
        """The request's body: what among the arguments is the API's or unknown, and what `extra_body` puts over it.

        Raises `InvalidRequest`.
        """
        extra = _mapping(self.kwargs.get("extra_body"))
        for name in _OTHER_CAPS:
            if name in self.kwargs or name in extra:
                raise InvalidRequest(f"{name} sets the output cap by another name; use max_tokens", param=name)
        own = {name: value for name, value in self.kwargs.items() if value is not None and not refused(api, name)}
        own.pop("metadata", None)
        body = json.loads(json.dumps({**own, **extra}, default=_plain))
        admit(api, {name: value for name, value in body.items() if not refused(api, name)})
        return Call(api, body)

    def written(self, shaped: Shaped, asked: Json) -> dict[str, Any]:
        """The arguments with what `shaped` made of the body that was `asked`, where LiteLLM leaves it as it is; with
        the output cap, and with usage asked for."""
        extra = {name: value for name, value in _mapping(self.kwargs.get("extra_body")).items() if name != "model"}
        arguments = {name: value for name, value in self.kwargs.items() if name != "extra_body"}
        known, body = as_arguments(shaped), shaped.body
        changed = {name for name in asked.keys() | body.keys() if asked.get(name) != body.get(name)}
        for name in (changed | asked.keys() & set(CONTROLS)) - {"model", "stream", "stream_options"}:
            for place in (arguments, extra):
                place.pop(name, None)
            if name in body:
                (arguments if name in known else extra)[name] = body[name]
        if shaped.cap is not None:
            for name in CAPS:
                arguments.pop(name, None)
                extra.pop(name, None)
            arguments[shaped.deployment.cap_parameter] = shaped.cap
        if "stream_options" in shaped.body and self.kwargs.get("stream"):
            self._ask_for_usage(arguments, extra, shaped)
        return {**arguments, "extra_body": extra} if extra else arguments

    def _ask_for_usage(self, arguments: dict[str, Any], extra: dict[str, Any], shaped: Shaped) -> None:
        """In the body where the wire is OpenAI's: where LiteLLM itself knows of the wish, it makes usage up when the
        provider sends none. Its proxy asks by itself, and takes out again what the client did not ask for."""
        wire, options = shaped.deployment.wire, shaped.body["stream_options"]
        theirs = _mapping(self.kwargs.get("stream_options")).get("include_usage")
        if wire == "openai" and (not theirs or self.kwargs.get("_litellm_strip_stream_usage")):
            arguments.pop("stream_options", None)
            extra["stream_options"] = options
        elif wire == "other":
            arguments["stream_options"] = options
        self.log.stream_options = arguments.get("stream_options")


class Hooks(CustomLogger):
    """LiteLLM's hooks, led to four verbs. An attempt is named by the string that `reserve` leaves in the log."""

    @abstractmethod
    async def reserve(self, hooked: Hooked) -> dict[str, Any] | None:
        """Reserve, mark the log, and give the arguments to call with; None to leave all as it is. Raises `Refusal`."""

    @abstractmethod
    def is_open(self, attempt: str) -> bool:
        """Whether this attempt is reserved and not yet settled."""

    @abstractmethod
    def settle(self, attempt: str, usage: Json | None, failure: AttemptFailed | None) -> None:
        """Settle an attempt if it is open. Never raises."""

    @abstractmethod
    def synchronous(self) -> None:
        """A synchronous call begins, of which nothing will be seen. Raises `Refusal`."""

    @abstractmethod
    async def tool_cost(self, server: str, tool: str) -> float | None:
        """What a call of an MCP tool costs, in USD; None where nobody said. Never raises."""

    def mark(self, hooked: Hooked, attempt: str) -> None:
        """Name the attempt in LiteLLM's log, and settle it at its bound when LiteLLM drops the call without an event:
        an abandoned stream, a cancelled call."""
        hooked.details[MARK] = attempt
        weakref.finalize(hooked.log, self.settle, attempt, None, _streamed("it was abandoned")).atexit = False

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> dict[str, Any] | None:
        """The only hook that sees a request with its deployment chosen. LiteLLM calls it a second time for the same
        attempt where it translates one API into another."""
        hooked = Hooked.of(kwargs, call_type)
        if is_ours() or self.is_open(hooked.details.get(MARK, "")):
            return None
        return await self.reserve(hooked)

    def pre_call_check(self, deployment: dict[str, Any]) -> None:
        """The only hook that LiteLLM's synchronous path has before a call."""
        if not is_ours():
            self.synchronous()

    async def async_post_call_success_deployment_hook(self, request_data: Any, response: Any, call_type: Any) -> None:
        """A plain answer, on the call's own path: the log events come later, or never when the process ends."""
        hooked = Hooked.of(request_data, call_type)
        if hooked.api is not None and not hooked.kwargs.get("stream"):
            self._close(hooked.details, _usage(response), None)

    async def async_post_call_failure_deployment_hook(
        self, request_data: Any, exception: Exception, call_type: Any, fallback_depth: int | None = None
    ) -> None:
        """An attempt failed before its answer began."""
        self._close(Hooked.of(request_data, call_type).details, None, from_exception(exception))

    async def async_post_mcp_tool_call_hook(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> Any:
        """LiteLLM's proxy has called an MCP tool: its cost stands on the call, as any other's."""
        told = _mapping(kwargs.get("mcp_tool_call_metadata"))
        cost = await self.tool_cost(str(told.get("mcp_server_name") or ""), str(told.get("name") or ""))
        if cost is None:
            return None
        response_obj.hidden_params.response_cost = cost
        return response_obj

    # LiteLLM calls these by keyword: a parameter by another name silences them.
    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A stream was read to its end, its client hung up, or LiteLLM's cache had the answer."""
        self._ended(kwargs, response_obj)

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A stream broke."""
        self._broke(kwargs)

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """As `async_log_success_event`, from code that is not asynchronous."""
        self._ended(kwargs, response_obj)

    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """As `async_log_failure_event`."""
        self._broke(kwargs)

    def _ended(self, details: Mapping[str, Any], response: Any) -> None:
        usage, failure = _usage(response), None
        if details.get("cache_hit"):
            usage = {"cost": 0}
        elif _hung_up(details):
            usage, failure = None, _streamed("the client hung up")
        elif usage:
            usage.pop("cost", None)  # LiteLLM puts its own figure where a stream's provider named none
        self._close(details, usage, failure)

    def _broke(self, details: Mapping[str, Any]) -> None:
        error = details.get("exception")
        failure = from_exception(error) if isinstance(error, BaseException) else _streamed("the call failed")
        if details.get("stream") and failure.reached is Reached.LOST:
            failure = _streamed(failure.detail)
        self._close(details, None, failure)

    def _close(self, details: Mapping[str, Any], usage: Json | None, failure: AttemptFailed | None) -> None:
        self.settle(details.get(MARK, ""), usage, failure)


def _streamed(detail: str) -> AttemptFailed:
    return AttemptFailed(Category.STREAM, Reached.STREAMED, detail)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _plain(value: Any) -> Any:
    """What Python code may put into a request, as the JSON that leaves: pydantic's objects, and classes for schemas."""
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        return value.model_json_schema()
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)


def _usage(response: Any) -> Json | None:
    """An answer's usage by OpenAI's names for chat, also where LiteLLM went by way of the Responses API."""
    found: Any = getattr(response, "usage", None)
    usage = dict(_mapping(found.model_dump(mode="json", exclude_none=True) if hasattr(found, "model_dump") else found))
    for theirs, ours in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")):
        for part in ("", "_details"):
            if theirs + part in usage:
                usage.setdefault(ours + part, usage[theirs + part])
    return usage or None


def _hung_up(details: Mapping[str, Any]) -> bool:
    """LiteLLM's proxy bills a stream whose client has gone at an estimate of what was streamed; this tells."""
    places = (details.get("metadata"), _mapping(details.get("litellm_params")).get("metadata"))
    return any(_mapping(place).get("client_disconnected") for place in places)
