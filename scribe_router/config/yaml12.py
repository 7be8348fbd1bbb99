"""YAML's scalars as version 1.2 reads them: `off`, `no`, `on` and `yes` are text, `1e3` is a number, dates are text.

And what the loader of LiteLLM's proxy (YAML 1.1) makes of the same text, since `litellm_config.yaml` is read by both.
"""

import re
from typing import Any

import yaml

CORE = "tag:yaml.org,2002:"
_PATTERNS = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
    "merge": re.compile(r"<<"),
}


def tag_of(text: str) -> str:
    """The tag of an unquoted scalar: null, bool, int, float, merge or str."""
    return next((tag for tag, pattern in _PATTERNS.items() if pattern.fullmatch(text)), "str")


def value_of(text: str, tag: str) -> Any:
    """The value of a scalar. Raises ValueError for text that its tag does not fit, or a tag that is not used here."""
    if tag in ("str", "merge"):
        return text
    if tag not in _PATTERNS:
        raise ValueError(f"the tag {tag} is not used here")
    if not _PATTERNS[tag].fullmatch(text):
        raise ValueError(f"this is not a value of the tag {tag}")
    if tag == "int":
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if tag == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return {"t": True, "f": False}.get(text[:1].lower())


def typed(text: str) -> Any:
    """Text of the environment as a number, true or false where it looks like one, else as it is."""
    tag = tag_of(text)
    return value_of(text, tag) if tag in ("bool", "int", "float") else text


def misread(text: str, *, key: bool = False) -> tuple[str, bool] | None:
    """What LiteLLM's loader would make of an unquoted scalar, if it differs; and whether LiteLLM gets over it.

    LiteLLM turns text into numbers where it wants numbers, so a number that it reads as text is the only mild case.
    """
    tag = tag_of(text)
    mine = text if key else value_of(text, tag)
    theirs = _yaml11(text)
    if theirs is _UNREADABLE:
        return f"LiteLLM's loader (YAML 1.1) cannot read {text}; quote it", False
    if type(theirs) is type(mine) and (theirs == mine or theirs != theirs):
        return None
    if isinstance(theirs, str):
        better = "with a point and a sign, like 1.0e-6" if isinstance(mine, float) else f"as {mine}"
        return f"LiteLLM's loader (YAML 1.1) reads {text} as text; write it {better}", True
    meant = mine if isinstance(mine, int) else theirs
    return f"LiteLLM's loader (YAML 1.1) reads {text} as {_word(theirs)}; quote it{_instead(meant, key)}", False


_UNREADABLE = object()


def _yaml11(text: str) -> Any:
    loader = yaml.SafeLoader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    if tag in (f"{CORE}str", f"{CORE}merge"):
        return text
    try:
        return loader.construct_document(yaml.ScalarNode(tag, text))
    except (yaml.YAMLError, ValueError, OverflowError):
        return _UNREADABLE


def _word(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"the number {value}" if isinstance(value, int | float) else "a date"


def _instead(value: Any, key: bool) -> str:
    if key or not isinstance(value, bool | int | float):
        return ""
    return f", or write {_word(value).removeprefix('the number ')}"
