"""What an error reply says decides its category, where the status alone does not."""

import json
from typing import Any

import pytest

from scribe_router.exchange import Category, Reached
from scribe_router.upstream.failures import from_reply

WORDS = [
    (400, {"error": {"message": "API key not valid. Please pass a valid API key."}}, Category.AUTHENTICATION),
    (400, {"error": {"message": "no", "code": "context_length_exceeded"}}, Category.CONTEXT_LENGTH),
    (400, {"error": {"message": "prompt is too long: 3 tokens > 2 maximum"}}, Category.CONTEXT_LENGTH),
    (400, {"error": {"message": "This model's maximum context length is 8192 tokens."}}, Category.CONTEXT_LENGTH),
    (400, [{"error": {"message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."}}],
     Category.CONTEXT_LENGTH),
    (400, {"error": {"message": "no", "code": "content_filter"}}, Category.CONTENT_POLICY),
    (400, {"error": {"message": "Input data may contain inappropriate content.", "code": "data_inspection_failed"}},
     Category.CONTENT_POLICY),
    (400, {"error": "the input length exceeds the context length"}, Category.CONTEXT_LENGTH),
    (400, {"object": "error", "message": "maximum context length is 5", "code": 400}, Category.CONTEXT_LENGTH),
    (400, {"error": {"message": "temperature must be below 2", "param": "temperature"}}, Category.BAD_REQUEST),
    (429, {"error": {"message": "buy more", "code": "insufficient_quota"}}, Category.AUTHENTICATION),
    (429, {"error": {"message": "slower", "code": "rate_limit_exceeded"}}, Category.RATE_LIMIT),
    (302, {}, Category.SERVER),
    (599, {}, Category.SERVER),
    (418, {}, Category.BAD_REQUEST),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "category"), WORDS)
def test_words_that_decide(status: int, body: Any, category: Category) -> None:
    failure = from_reply(status, json.dumps(body).encode(), {})
    assert (failure.category, failure.reached, failure.status) == (category, Reached.REPLIED, status)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("-1", 0.0), ("999999", 3600.0), ("soon", None), ("nan", None), ("inf", 3600.0)],
)
def test_retry_after_as_it_is_written(value: str, seconds: float | None) -> None:
    assert from_reply(429, b"", {"retry-after": value}).retry_after == seconds


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"[" * 200_000, b"\xff\xfe", b'{"error": 5}', b'{"error": null}']
)
def test_no_body_is_too_strange(body: bytes) -> None:
    assert from_reply(400, body, {}).category is Category.BAD_REQUEST
