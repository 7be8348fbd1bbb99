"""Where models differ from OpenAI's format: rows under `quirks` of a provider in `policies/providers.yaml`.

Rows and a body in, a body that these models take out, with a sentence for each change of what was asked.
"""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import Field

from scribe_router.policies.schema import Shape

Number = int | float
Rows = tuple["Quirk", ...]


class Header(Shape):
    """A header that is sent while all fields of `when` are in the body, and the prompt has more than `longer_than`
    tokens (a token taken for four bytes)."""

    value: str = Field(min_length=1)
    when: tuple[str, ...] = ()
    longer_than: int | None = Field(default=None, ge=0)


class Quirk(Shape):
    """What holds for `models`: patterns of the provider's own names. Every row that matches counts, in their order.

    `defaults` are parameters that the models want, sent unless somebody says them. `never` are those that they refuse
    or ignore, `only_with_tools` those that they refuse without tools; of `one_of` the first that is there is kept.
    `clamp` moves a number into a range, `values` replaces a value by another, `rename` calls a parameter otherwise, and
    `roles` the role of a message. `formats` are the types of `response_format` that they take, others are left out.
    `stream_only` models answer in parts alone (`thinking`: while they think), so a plain answer is put together here.

    `window` is the operator's parameter that sets how much the model reads: without it `check` warns. It warns of the
    `obsolete` values of headers too, and says why they do nothing.
    """

    models: tuple[str, ...] = ("*",)
    defaults: dict[str, Any] = Field(default_factory=dict)
    never: tuple[str, ...] = ()
    only_with_tools: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    clamp: dict[str, tuple[Number, Number]] = Field(default_factory=dict)
    values: dict[str, dict[str, str]] = Field(default_factory=dict)
    rename: dict[str, str] = Field(default_factory=dict)
    roles: dict[str, str] = Field(default_factory=dict)
    formats: tuple[str, ...] = ()
    headers: dict[str, Header] = Field(default_factory=dict)
    stream_only: bool | Literal["thinking"] = False
    window: str | None = None
    obsolete: dict[str, str] = Field(default_factory=dict)

    def holds(self, model: str) -> bool:
        """Whether the row is for a model, by the provider's own name for it."""
        return any(fnmatchcase(model.lower(), pattern) for pattern in self.models)


def fitted(rows: Rows, body: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The body as the models take it, and what is not sent as it was asked."""
    fit, said, model = dict(body), list[str](), body["model"]
    for row in rows:
        fit = {**row.defaults, **fit}
        said += _without(fit, row.never, f"{model} does not take it")
        if not (fit.get("tools") or fit.get("functions")):
            said += _without(fit, row.only_with_tools, "there are no tools")
        first, *others = [name for name in row.one_of if fit.get(name) is not None] or [""]
        said += _without(fit, others, f"{model} takes it or {first}")
        kind = _in(fit.get("response_format"), "type")
        if row.formats and kind is not None and kind not in row.formats:
            said += _without(fit, ["response_format"], f"{model} has no {kind}")
        for name, (least, most) in row.clamp.items():
            said += _clamped(fit, name, least, most)
        said += _named(fit, row)
    return fit, said


def _named(fit: dict[str, Any], row: Quirk) -> list[str]:
    """Puts values, roles and parameters under their names there."""
    said: list[str] = []
    for name, values in row.values.items():
        if isinstance(fit.get(name), str):
            fit[name] = values.get(fit[name], fit[name])
    if row.roles and isinstance(fit.get("messages"), list):
        fit["messages"] = [
            {**each, "role": row.roles[each["role"]]} if _in(each, "role") in row.roles else each
            for each in fit["messages"]
        ]
    for name, theirs in row.rename.items():
        if fit.get(theirs) is not None:
            said += _without(fit, [name], f"{theirs} is its name at {fit['model']}")
        elif name in fit:
            fit[theirs] = fit.pop(name)
    return said


def _in(value: Any, name: str) -> str | None:
    """A text in an object; None where there is none."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else None


def _without(fit: dict[str, Any], names: Iterable[str], why: str) -> list[str]:
    return [f"{name} is not sent: {why}" for name in names if fit.pop(name, None) is not None]


def _clamped(fit: dict[str, Any], name: str, least: Number, most: Number) -> list[str]:
    value = fit.get(name)
    if not isinstance(value, Number) or isinstance(value, bool) or least <= value <= most:
        return []
    fit[name] = least if value < least else most
    return [f"{name} {value} is sent as {fit[name]}: {fit['model']} takes {least} to {most}"]


def streamed(rows: Rows, *, thinking: bool) -> bool:
    """Whether the models answer in parts alone."""
    return any(row.stream_only is True or (row.stream_only == "thinking" and thinking) for row in rows)


def headers(rows: Rows, own: Mapping[str, str], body: Mapping[str, Any], size: int) -> Mapping[str, str]:
    """The operator's headers and those of the rows, for a body of `size` bytes. Values of one name are joined."""
    joined = dict(own)
    for row in rows:
        for name, header in row.headers.items():
            wanted = all(body.get(field) is not None for field in header.when)
            if wanted and (header.longer_than is None or size > 4 * header.longer_than):
                same = next((each for each in joined if each.lower() == name.lower()), name)
                values = [*_values(joined.pop(same, "")), header.value]
                joined[name] = ",".join(dict.fromkeys(values))
    return joined


def advice(rows: Rows, own: Mapping[str, str], settings: Mapping[str, Any] | None) -> Iterator[str]:
    """What `check` says of a deployment with these headers, and these parameters for the machine that is asked (None:
    it is not the operator's)."""
    sent = [value for header in own.values() for value in _values(header)]
    for row in rows:
        for value in sent:
            if value in row.obsolete:
                yield f"the header {value} does nothing any more: {row.obsolete[value]}"
        if row.window and settings is not None and settings.get(row.window) is None:
            yield f"{row.window} is not set: longer prompts are cut without a word"


def _values(header: str) -> list[str]:
    return [value.strip() for value in header.split(",") if value.strip()]
