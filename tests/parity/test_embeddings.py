"""Embeddings: the same vectors, usage and rows through every door and both lanes, in numbers and in base64."""

import base64
import itertools
import struct
from typing import Any

import openai
import pytest

from tests.parity.doors import Row, row_of
from tests.parity.stage import LANES, Stage

Vectors = list[list[float]]
BODIES: dict[str, dict[str, Any]] = {
    "one text": {"input": "hello big world"},
    "several texts": {"input": ["hello big world", "naïve 漢字"]},
    "token numbers": {"input": [[1, 2, 3], [4]]},
    "numbers": {"input": ["hello"], "encoding_format": "float"},
    "base64": {"input": ["hello", "big"], "encoding_format": "base64"},
    "dimensions": {"input": ["hello"], "dimensions": 8},
    "base64 and dimensions": {"input": ["hello"], "dimensions": 8, "encoding_format": "base64", "user": "u"},
}


def numbers(embedding: Any) -> list[float]:
    if isinstance(embedding, str):
        raw = base64.b64decode(embedding)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return list(embedding)


def kind(answer: dict[str, Any]) -> set[str]:
    return {type(each["embedding"]).__name__ for each in answer["data"]}


def read(answer: dict[str, Any]) -> tuple[Vectors, set[str], dict[str, int] | None]:
    assert [each["index"] for each in answer["data"]] == list(range(len(answer["data"])))
    usage = answer.get("usage")
    counted = usage and {name: usage[name] for name in ("prompt_tokens", "total_tokens")}
    return [numbers(each["embedding"]) for each in answer["data"]], kind(answer), counted


def awaited(stage: Stage, body: dict[str, Any]) -> tuple[dict[str, Any], Row]:
    async def ask() -> tuple[dict[str, Any], Row]:
        answer = await stage.router.aembedding(**body)
        return answer.model_dump(), await row_of(stage.router.ledger, answer.scribe.request_id)

    return stage.runner.run(ask())


def synchronous(stage: Stage, body: dict[str, Any]) -> tuple[dict[str, Any], Row]:
    answer = stage.router.embedding(**body)
    return answer.model_dump(), stage.runner.run(row_of(stage.router.ledger, answer.scribe.request_id))


def over_http(stage: Stage, body: dict[str, Any]) -> tuple[dict[str, Any], Row]:
    async def ask() -> tuple[dict[str, Any], Row]:
        reply = await stage.client.post("/embeddings", body=body, cast_to=openai.BaseModel, options={})
        return reply.model_dump(), await row_of(stage.proxied.ledger, None)

    return stage.runner.run(ask())


@pytest.mark.parametrize("name", BODIES)
def test_embeddings(stage: Stage, name: str) -> None:
    body = BODIES[name]
    said = []
    for door, lane in itertools.product((awaited, synchronous, over_http), LANES):
        answer, row = door(stage, {**body, "model": f"{lane}/embed"})
        assert answer["model"] == f"{lane}/embed"
        assert (row.mark, row.outcome) == ("computed", "answered")
        said.append((*read(answer), row))
    assert all(each == said[0] for each in said[1:])
    vectors, kinds, _, row = said[0]
    assert kinds == ({"str"} if body.get("encoding_format") == "base64" else {"list"})
    assert {len(vector) for vector in vectors} == {body.get("dimensions", 1536)}
    assert row.cost == 1000 * (said[0][2] or {})["prompt_tokens"]


def test_without_usage(stage: Stage) -> None:
    for door, lane in itertools.product((awaited, synchronous, over_http), LANES):
        answer, row = door(stage, {"input": "hello", "model": f"{lane}/embed+no-usage"})
        assert not answer.get("usage")
        assert (row.mark, row.cost) == ("bound", row.bound)


@pytest.mark.parametrize("lane", LANES)
def test_the_official_client_decodes_what_it_asked_for(stage: Stage, lane: str) -> None:
    """It asks for base64 of its own accord, and turns it into numbers."""

    async def ask() -> Any:
        return await stage.client.embeddings.create(model=f"{lane}/embed", input=["hello big world"])

    answer = stage.runner.run(ask())
    assert (
        answer.data[0].embedding
        == awaited(stage, {"input": "hello big world", "model": f"{lane}/embed"})[0]["data"][0]["embedding"]
    )
