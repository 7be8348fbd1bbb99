"""The table: `tests/cases/wire.yaml`, and over the models that stand there `tests/cases/reasoning.yaml`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from scribe_router.exchange import Api, Json

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "cases"


@dataclass(frozen=True)
class Case:
    """A request, and what has to arrive for it. `fact` is what it holds of the providers; `says` what the answer tells
    of the effort (empty: not looked at)."""

    model: str
    api: Api
    ask: Json
    params: Json
    info: Json
    sends: Json
    fact: int | None = None
    says: tuple[str | None, ...] = ()

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0]

    @property
    def name(self) -> str:
        """Unlike that of any other case."""
        every = default("providers")[self.provider]
        told = [_beyond(self.ask, default("ask")), _beyond(self.info, {**default("info"), **every.get("info", {})})]
        told.append(_beyond(self.params, {"model": self.model, **every.get("params", {})}))
        return " ".join([self.model, *(json.dumps(each, ensure_ascii=False) for each in told if each)])


def _beyond(value: Json, usual: Json) -> Json:
    return {name: each for name, each in value.items() if usual.get(name) != each}


def read(path: Path) -> Any:
    """A YAML file, by libyaml: a tenth of the time, which each process of the tests spends on these tables."""
    return yaml.load(path.read_bytes(), yaml.CSafeLoader)


@cache
def table() -> Json:
    loaded: Json = read(CASES / "wire.yaml")
    return loaded


def default(name: str) -> Json:
    """What the head of the table says under a name."""
    found: Json = table()[name]
    return found


def written() -> list[Case]:
    """The cases of `wire.yaml`."""
    return [_case(line) for line in table()["cases"]]


def levels() -> list[Case]:
    """The cases of `reasoning.yaml`: what stands there is all that differs from the request without an effort.
    Streamed as well are the least and the most of each model, and every level of each provider's first."""
    plain = {line["model"]: line for line in table()["cases"] if set(line) <= {"model", "sends", "fact"}}
    lines = read(CASES / "reasoning.yaml")
    firsts = {line["model"].partition("/")[0]: line["model"] for line in reversed(lines)}.values()
    ends = ({"reasoning_effort": "none"}, {"reasoning_effort": "max"})
    streamed = [line for line in lines if line["model"] in firsts or line["ask"] in ends]
    plainly = [_level(line, plain[line["model"]]) for line in lines]
    return plainly + [_level(line, plain[line["model"]], stream=True) for line in streamed]


def _level(line: Json, plain: Json, *, stream: bool = False) -> Case:
    body = line["sends"]
    if line["model"].startswith("gemini/"):
        body = {"generationConfig": {"thinkingConfig": body}} if body else {}
    more = {"stream": True} if stream else {}
    case = _case({**plain, "ask": {**line["ask"], **more}})
    return replace(case, sends=patched(case.sends, {"body": body}), says=(line["says"],))


def usual(line: Json) -> Json:
    """What a case's request is before the case says anything of it."""
    every = default("providers")[line["model"].partition("/")[0]]
    base = every.get(line.get("api", "chat"), {})
    if line.get("ask", {}).get("stream"):
        base = patched(base, every["stream"])
    filled: Json = _filled(base, _ask(line), line["model"].partition("/")[2])
    return filled


def _ask(line: Json) -> Json:
    return {**({} if "api" in line else default("ask")), **line.get("ask", {})}


def _case(line: Json) -> Case:
    every, api = default("providers")[line["model"].partition("/")[0]], line.get("api", "chat")
    params = {"model": line["model"], **patched(every.get("params", {}), line.get("params", {}))}
    mode = {"mode": "embedding"} if api == "embeddings" else {}
    info = {**default("info"), **mode, **every.get("info", {}), **line.get("info", {})}
    sends = patched(usual(line), line.get("sends", {}))
    return Case(line["model"], api, _ask(line), params, info, sends, line.get("fact"))


def patched(value: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396): objects are merged, null removes, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = {**value} if isinstance(value, Mapping) else {}
    for name, part in patch.items():
        if part is None:
            merged.pop(name, None)
        else:
            merged[name] = patched(merged.get(name), part)
    return merged


def patch_of(value: Any, wanted: Any) -> Any:
    """The merge patch that makes `wanted` of `value`."""
    if not isinstance(value, Mapping) or not isinstance(wanted, Mapping):
        return wanted
    found = dict.fromkeys(name for name in value if name not in wanted)
    return found | {name: patch_of(value.get(name), wanted[name]) for name in wanted if value.get(name) != wanted[name]}


def _filled(value: Any, ask: Json, model: str) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(each, ask, model) for name, each in value.items()}
    if isinstance(value, str):
        known = {"{cap}": ask.get("max_tokens"), "{messages}": ask.get("messages")}
        return known[value] if value in known else value.replace("{model}", model)
    return value
