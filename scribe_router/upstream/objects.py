"""Answers as LiteLLM's objects, for Python jobs. LiteLLM is imported when the first answer is built."""

from functools import lru_cache
from typing import Any

from pydantic import PrivateAttr

from scribe_router.receipt import Receipt
from scribe_router.stream import Answer, AnswerStream
from scribe_router.upstream.quiet import litellm


@lru_cache(maxsize=1)
def _classes() -> dict[str, Any]:
    module = litellm()

    class ScribeResponse(module.ModelResponse):  # type: ignore[misc, name-defined]
        """A `ModelResponse` that knows what it cost and where it came from."""

        _scribe: Receipt = PrivateAttr()

        @property
        def scribe(self) -> Receipt:
            return self._scribe

    class ScribeEmbeddings(module.EmbeddingResponse):  # type: ignore[misc, name-defined]
        """An `EmbeddingResponse` that knows what it cost and where it came from."""

        _scribe: Receipt = PrivateAttr()

        @property
        def scribe(self) -> Receipt:
            return self._scribe

    class ScribeText(module.TextCompletionResponse):  # type: ignore[misc, name-defined]
        """A `TextCompletionResponse` that knows what it cost and where it came from."""

        _scribe: Receipt = PrivateAttr()

        @property
        def scribe(self) -> Receipt:
            return self._scribe

    chunks = {"chunk of chat": module.ModelResponseStream, "chunk of completions": module.TextCompletionResponse}
    return {"chat": ScribeResponse, "completions": ScribeText, "embeddings": ScribeEmbeddings, **chunks}


def python_answer(answer: Answer | AnswerStream) -> Any:
    """A `ModelResponse`, `TextCompletionResponse` or `EmbeddingResponse` with `.scribe`, or a `PythonStream`."""
    if isinstance(answer, AnswerStream):
        return PythonStream(answer)
    response = _classes()[answer.exchange.call.api](**answer.body)
    if "usage" not in answer.body:
        response.usage = None  # LiteLLM would say that nothing was used
    response._scribe = Receipt.of(answer.exchange)  # noqa: SLF001  (the classes are above)
    return response


class PythonStream:
    """An asynchronous iterator of `ModelResponseStream`, or of `TextCompletionResponse`; `.scribe` has the cost once it
    has ended."""

    def __init__(self, stream: AnswerStream) -> None:
        self._stream = stream

    @property
    def scribe(self) -> Receipt:
        return Receipt.of(self._stream.exchange)

    def __aiter__(self) -> "PythonStream":
        return self

    async def __anext__(self) -> Any:
        return _classes()[f"chunk of {self._stream.exchange.call.api}"](**await anext(self._stream))

    async def aclose(self) -> None:
        """Stop reading; the rest is read and settled in the background."""
        await self._stream.aclose()
