"""How much a model reasons: one scale, and how each family of models says it. `policies/reasoning.yaml`.

The scale is `none minimal low medium high xhigh max`, or a number of tokens. A family that lacks a level names the one
that stands in for it, and the answer says so. Knows names of models and of fields; no deployment, and no price.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Literal, get_args

from pydantic import Field, RootModel, model_validator

from scribe_router.exchange import Level
from scribe_router.policies.schema import Shape

LEVELS: tuple[Level, ...] = get_args(Level)
# Tokens of thinking from which a level is meant, where a family knows levels alone.
LEVEL_OF_BUDGET: tuple[tuple[int, Level], ...] = (
    (32_768, "max"),
    (16_384, "high"),
    (4_096, "medium"),
    (1_024, "low"),
    (1, "minimal"),
    (0, "none"),
)
# Every field that any vendor reads its thinking from: none of them travels to a vendor that does not know it.
CONTROLS = ("reasoning_effort", "thinking_budget", "thinking", "reasoning", "enable_thinking", "think", "output_config")
# Members of such a field that say how much; what else it holds (what is shown of it, what is kept) says something else.
_AMOUNT = ("type", "enabled", "effort", "budget_tokens", "max_tokens")
# What becomes of a tool that a request forces (`tool_choice`: `required`, or one by its name).
ForcedTools = Literal["any", "unthinking", "required", "never"]
VISIBLE = 1_024  # tokens of the output cap that are kept for what the caller reads


class Budget(Shape):
    """Where thinking tokens are counted: `field` (dots lead into objects), from `least` to `most`. They are part of the
    output cap, so that a small cap leaves no room to think, unless `within_cap` is false. Models that take levels as
    well have the field in `instead`, which is written for a number of tokens in place of a level."""

    field: str
    least: int = Field(default=1_024, ge=0)
    most: int | None = None
    within_cap: bool = True
    instead: dict[str, Any] | None = None


class Family(Shape):
    """Models that say it in one way. `models` are patterns of the provider's own names, the longest that matches wins.

    Each level is what is written into the body, or the name of the level that stands in for it. `default` is what the
    model does when nothing is said. `native` are this vendor's own fields, which a client may use as they are; but a
    number of tokens has to fit, and a `none` that the models refuse or do not know in these words is said as theirs.
    `never` are parameters that the models refuse, `never_thinking` those that they refuse while they think; they are
    left out. `forced_tools` are those that they take: `any`, any while they do not think (`unthinking`: the thinking
    gives way for that turn), `required` alone and no tool by its name, or `never` (the model decides).
    """

    providers: tuple[str, ...] = Field(min_length=1)
    models: tuple[str, ...] = ("*",)
    none: Level | dict[str, Any]
    minimal: Level | dict[str, Any]
    low: Level | dict[str, Any]
    medium: Level | dict[str, Any]
    high: Level | dict[str, Any]
    xhigh: Level | dict[str, Any]
    max: Level | dict[str, Any]
    default: Level
    budget: Budget | None = None
    native: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    never_thinking: tuple[str, ...] = ()
    forced_tools: ForcedTools = "any"
    note: str | None = None

    @model_validator(mode="after")
    def _levels_lead_somewhere(self) -> "Family":
        for level in LEVELS:
            other = getattr(self, level)
            if isinstance(other, str) and isinstance(getattr(self, other), str):
                raise ValueError(f"{level} stands for {other}, which is no level that these models have")
        return self

    def sent(self, level: Level) -> tuple[Level, dict[str, Any]]:
        """The level that is there for `level`, and what is written for it."""
        found: Level | dict[str, Any] = getattr(self, level)
        return (level, found) if isinstance(found, dict) else (found, getattr(self, found))

    @property
    def stops(self) -> bool:
        """Whether the models can be told not to think."""
        return isinstance(self.none, dict)

    @property
    def hybrid(self) -> bool:
        """Whether the models think only when they are asked to."""
        return self.default == "none" and any(isinstance(getattr(self, level), dict) for level in LEVELS[1:])

    def wish(self, body: Mapping[str, Any], auto: Level | None = None) -> "Asked | None":
        """What a body asks for; None where it asks nothing, or in the vendor's own words as these models take them."""
        found = asked(body, self.native, auto)
        own = asked({name: body[name] for name in self.native if name in body}, ())
        if found is not None or own is None:
            return found
        known = all(body.get(name) == value for name, value in self.sent("none")[1].items())
        return replace(own, own=True) if own.budget is not None or (own.level == "none" and not known) else None

    def unasked(self) -> "Family":
        """The same models, that are never asked to think."""
        return self.model_copy(update={**dict.fromkeys(LEVELS[1:], "none"), "native": (), "budget": None})

    def level(self, body: Mapping[str, Any], encoded: "Encoded | None" = None) -> Level:
        """The level at which a body is answered: what was `encoded` for it, else its own words, else the default."""
        # An `output_config` says how much effort an answer is worth, whether it is thought about or not.
        wish = encoded or asked({name: body[name] for name in body if name != "output_config"}, ())
        return self.default if wish is None else wish.level

    def forces(self, *, thinking: bool) -> ForcedTools:
        """Which forced tools are taken by a model that was to think, or not to."""
        if self.forced_tools != "unthinking":
            return self.forced_tools
        if not thinking:
            return "any"
        return "unthinking" if self.sent("none")[0] == "none" else "never"

    def matches(self, provider: str, model: str) -> int:
        """How well it fits: the length of the longest pattern; 0 for not at all."""
        if provider not in self.providers:
            return 0
        return max((len(pattern) for pattern in self.models if fnmatchcase(model.lower(), pattern)), default=0)


class ReasoningKnowledge(RootModel[dict[str, Family]]):
    """Name of a family to how it reasons."""

    def family(self, provider: str, model: str) -> Family | None:
        """The family of a provider's model, or None when nobody wrote it down."""
        best = max(self.root.values(), key=lambda each: each.matches(provider, model), default=None)
        return best if best is not None and best.matches(provider, model) else None


@dataclass(frozen=True, slots=True)
class Asked:
    """How much reasoning a request wants: a level, or a number of tokens; `auto` is a level that rules chose. It may be
    said in the `own` words of the vendor: such a number stays as it is wherever the vendor takes it."""

    level: Level
    budget: int | None = None
    auto: bool = False
    own: bool = False

    def __str__(self) -> str:
        if self.auto:
            return f"auto ({self.level})"
        return self.level if self.budget is None else f"{self.budget} tokens"


@dataclass(frozen=True, slots=True)
class Encoded:
    """What is written into the body, the level that it stands for, and what to say when it is not what was asked."""

    fields: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    level: Level = "none"
    degraded: str = ""


def asked(body: Mapping[str, Any], native: tuple[str, ...], auto: Level | None = None) -> Asked | None:
    """What a body asks for in any vendor's words; None where it asks nothing, or in words that are `native` here.

    `auto` is what `reasoning_effort: auto` means for it.
    """
    effort = body.get("reasoning_effort")
    if effort == "auto" and auto is not None:
        return Asked(auto, auto=True)
    if effort in LEVELS:
        return Asked(effort)
    if (tokens := _tokens(body.get("thinking_budget"))) is not None:
        return _of_tokens(tokens)
    for name in CONTROLS:
        if name in body and name not in native and (found := _foreign(name, body[name])) is not None:
            return found
    return None


def written(body: Mapping[str, Any], encoded: "Encoded") -> dict[str, Any]:
    """The body with what is `encoded`, in place of all that says otherwise how much to think. What an `output_config`
    says beside that stays, and so does what a field says of other things."""
    others = {name for name in CONTROLS if name not in encoded.fields} - {"output_config"}
    said = {name: value for name, value in body.items() if name not in others}
    for name, value in encoded.fields.items():
        before = said.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            amount = _AMOUNT if name in CONTROLS else ()
            value = {**{each: before[each] for each in before if each not in amount}, **value}
        said[name] = value
    return said


def asking(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields of a body about reasoning that say anything but none."""
    said = {name: asked({name: body[name]}, ()) for name in CONTROLS if body.get(name) is not None}
    return tuple(name for name, wish in said.items() if wish is None or wish.level != "none")


def _foreign(name: str, value: Any) -> Asked | None:
    """The wish behind another vendor's field."""
    if name in ("enable_thinking", "think") and isinstance(value, bool):
        return Asked("medium" if value else "none")
    if name == "think" and value in LEVELS:
        return Asked(value)
    if not isinstance(value, Mapping):
        return None
    if value.get("effort") in LEVELS:
        return Asked(value["effort"])
    if value.get("type") == "disabled" or value.get("enabled") is False:
        return Asked("none")
    for tokens in (value.get("budget_tokens"), value.get("max_tokens")):
        if (count := _tokens(tokens)) is not None:
            return _of_tokens(count)
    return Asked("medium") if value.get("type") in ("enabled", "adaptive") or value.get("enabled") is True else None


def _tokens(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _of_tokens(tokens: int) -> Asked:
    return Asked(next(level for least, level in LEVEL_OF_BUDGET if tokens >= least), tokens)


def forced_tool(body: Mapping[str, Any]) -> str | None:
    """The name of the tool that a request forces, empty where any will do; None where none is forced."""
    choice = body.get("tool_choice")
    if choice in ("required", "any"):
        return ""
    return tool_name(choice) or None


def tool_name(tool: Any) -> str:
    """The name in a tool, or in the choice of one; empty without."""
    inside = (tool.get("function") or tool.get("custom")) if isinstance(tool, Mapping) else None
    name = inside.get("name") if isinstance(inside, Mapping) else None
    return name if isinstance(name, str) else ""


def encode(family: Family, wish: Asked, cap: int) -> Encoded:
    """How `family` says `wish` below an output cap of `cap` tokens."""
    level, fields = family.sent(wish.level)
    degraded = "" if level == wish.level else f"{wish.level} is not available"
    budget = family.budget
    if budget is None:
        return Encoded(fields, level, "these models take levels, no number of tokens" if wish.budget else degraded)
    if wish.budget and budget.instead is not None:
        fields = budget.instead
    elif not _at(fields, budget.field):
        return Encoded(fields, level, degraded)
    tokens = wish.budget if wish.budget is not None else _at(fields, budget.field)
    room = cap - VISIBLE if budget.within_cap else tokens
    if wish.own and tokens < cap:
        room = max(room, tokens)
    fits = min(tokens, room, budget.most if budget.most is not None else tokens)
    if fits < budget.least and room >= budget.least:
        fits = budget.least
    if fits < budget.least:
        none, silent = family.sent("none")
        return Encoded(silent, none, f"an output cap of {cap} tokens leaves no room to think")
    if fits < tokens and fits == room:
        degraded = f"an output cap of {cap} tokens leaves {fits} to think"
    elif wish.budget is not None and fits != tokens:
        degraded = f"{fits} tokens are the {'most' if fits < tokens else 'least'}"
    return Encoded(_put(fields, budget.field, fits), level, degraded)


def yielding(family: Family) -> Encoded:
    """How models are told that take a forced tool only while they do not think."""
    return Encoded(family.sent("none")[1], "none", "a forced tool leaves no thinking")


def _at(fields: Mapping[str, Any], path: str) -> Any:
    value: Any = fields
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _put(fields: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    name, _, rest = path.partition(".")
    return {**fields, name: _put(fields.get(name, {}), rest, value) if rest else value}
