"""A document against its pydantic shape: the model, or each mistake where it stands. Knows pydantic, no meaning."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, RootModel, ValidationError

from scribe_router.config.documents import Document, Path_
from scribe_router.names import did_you_mean

M = TypeVar("M", bound=BaseModel)

_WORDS = {
    "string_type": "expected a name (text)",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "decimal_type": "expected a number",
    "decimal_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "missing": "is missing",
}


def validate(document: Document, shape: type[M]) -> M | None:
    """The document's data as `shape`; None when it does not fit, with the problems added to the document."""
    data = document.data
    if not isinstance(data, Mapping):
        document.problems.append(document.problem((), "expected a mapping of settings"))
        return None
    try:
        return shape.model_validate(data)
    except ValidationError as error:
        for each in _distinct(error):
            document.problems.append(_problem(document, shape, each))
        return None


def _distinct(error: ValidationError) -> Iterable[Any]:
    """Pydantic reports each arm of a union; one line at a place is enough."""
    seen: set[Path_] = set()
    for each in error.errors(include_url=False):
        path = _path(each["loc"])
        if path not in seen:
            seen.add(path)
            yield each


def _path(location: tuple[Any, ...]) -> Path_:
    return tuple(
        step
        for step in location
        if not (isinstance(step, str) and re.fullmatch(r"[A-Za-z]+\[.*\]|str|function-.*", step))
    )


def _problem(document: Document, shape: type[BaseModel], each: Any) -> Any:
    path = _path(each["loc"])
    kind = each["type"]
    if kind == "extra_forbidden":
        name = str(path[-1])
        return document.problem(path, f"unknown key{did_you_mean(name, _fields(shape, path[:-1]))}", key=True)
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", each["ctx"]["expected"])
        hint = did_you_mean(str(each["input"]), options)
        return document.problem(path, f"expected one of {', '.join(options)}, found {_show(each['input'])}{hint}")
    if kind in _WORDS:
        found = "" if kind == "missing" else f", found {_show(each['input'])}"
        return document.problem(path, _WORDS[kind] + found)
    message = str(each["ctx"]["error"]) if kind == "value_error" else each["msg"]
    return document.problem(path, message[:1].lower() + message[1:])


def _show(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return (
        {True: "true", False: "false", None: "nothing"}.get(value, repr(value))
        if value is None or isinstance(value, bool)
        else repr(value)
    )


def _fields(shape: Any, path: Path_) -> tuple[str, ...]:
    """The field names of the shape that stands at `path`."""
    for step in path:
        shape = _inner(shape, step)
        if shape is None:
            return ()
    return tuple(shape.model_fields) if isinstance(shape, type) and issubclass(shape, BaseModel) else ()


def _inner(shape: Any, step: str | int) -> Any:
    if isinstance(shape, type) and issubclass(shape, RootModel):
        return _model_in(shape.model_fields["root"].annotation)
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        field = shape.model_fields.get(str(step))
        return field.annotation if field is not None else None
    return _model_in(shape)


def _model_in(annotation: Any) -> Any:
    """The shape inside `list[...]`, `dict[str, ...]` or a union."""
    arguments = getattr(annotation, "__args__", ())
    for argument in reversed(arguments):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument
        found = _model_in(argument)
        if found is not None:
            return found
    return None
