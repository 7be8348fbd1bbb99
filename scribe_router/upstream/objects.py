"""Answers as LiteLLM's objects, for Python jobs. LiteLLM is imported when the first answer is built."""

from functools import lru_cache
from typing import Any

from pydantic import PrivateAttr

from scribe_router.exchange import Receipt
from scribe_router.stream import Answer, AnswerStream
from scribe_router.upstream.quiet import litellm


@lru_cache(maxsize=1)
def _classes() -> tuple[Any, Any, Any]:
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

    return ScribeResponse, ScribeEmbeddings, module.ModelResponseStream


def python_answer(answer: Answer | AnswerStream) -> Any:
    """A `ModelResponse` or `EmbeddingResponse` with `.scribe`, or a `PythonStream` of `ModelResponseStream`."""
    if isinstance(answer, AnswerStream):
        return PythonStream(answer)
    chat, embeddings, _ = _classes()
    response = (chat if answer.exchange.call.api == "chat" else embeddings)(**answer.body)
    if "usage" not in answer.body:
        response.usage = None  # LiteLLM would say that nothing was used
    response._scribe = answer.exchange.receipt()  # noqa: SLF001  (the classes are above)
    return response


class PythonStream:
    """An asynchronous iterator of `ModelResponseStream`; `.scribe` has the cost once it has ended."""

    def __init__(self, stream: AnswerStream) -> None:
        self._stream = stream

    @property
    def scribe(self) -> Receipt:
        return self._stream.exchange.receipt()

    def __aiter__(self) -> "PythonStream":
        return self

    async def __anext__(self) -> Any:
        return _classes()[2](**await anext(self._stream))

    async def aclose(self) -> None:
        """Stop reading; the rest is read and settled in the background."""
        await self._stream.aclose()
