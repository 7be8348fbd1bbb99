"""The API of a Python job: OpenAI's parameters in, LiteLLM's objects out. Knows no step of the path."""

import os
import weakref
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scribe_router.config.load import load_config
from scribe_router.exchange import Call, CallOptions, Json
from scribe_router.explain import describe
from scribe_router.plan import Plan
from scribe_router.principals import LOCAL, Principal
from scribe_router.private_loop import PrivateLoop
from scribe_router.receipt import Receipt
from scribe_router.registry import Registry
from scribe_router.sandbox import SandboxThread
from scribe_router.sandboxed import sandboxed
from scribe_router.stream import Answer, AnswerStream
from scribe_router.upstream.objects import PythonStream, python_answer

NO_OPTIONS = CallOptions()


class BlockingStream:
    """The chunks of a stream for code that is not asynchronous; `.scribe` has the cost once it has ended."""

    def __init__(self, stream: PythonStream, loop: PrivateLoop) -> None:
        self._stream, self._chunks = stream, loop.iterate(stream)

    @property
    def scribe(self) -> Receipt:
        return self._stream.scribe

    def __iter__(self) -> "BlockingStream":
        return self

    def __next__(self) -> Any:
        return next(self._chunks)

    def close(self) -> None:
        """Stop reading; the rest is read and settled in the background."""
        self._chunks.close()


class PythonApi(ABC):
    """What a job calls; the router below it serves."""

    registry: Registry

    def __init__(self) -> None:
        self._private = PrivateLoop()

    @classmethod
    def from_yaml(
        cls, config: str | Path = "litellm_config.yaml", policies: str | Path | None = None, *, sandbox: bool = False
    ) -> Self:
        """A router for a `litellm_config.yaml` and the policies beside it. Raises `ConfigError` with every mistake.

        With `sandbox`, a fake provider of its own answers for every deployment: no key is needed or used.
        """
        registry = load_config(Path(config), Path(policies) if policies else None, os.environ).or_raise()
        if not sandbox:
            return cls(registry)  # type: ignore[call-arg]
        fake = SandboxThread()
        fake.start()
        router = cls(sandboxed(registry, fake.sandbox.url))  # type: ignore[call-arg]
        weakref.finalize(router, fake.stop)
        return router

    async def acompletion(self, *, options: CallOptions = NO_OPTIONS, **parameters: Any) -> Any:
        """A chat completion: OpenAI's parameters in, LiteLLM's `ModelResponse` (or a stream of its chunks) out.

        `.scribe` of the answer has the cost, the deployment, the lane and the attempts. Raises a `RequestError`.
        """
        return python_answer(await self.serve(Call("chat", parameters, options)))

    async def atext_completion(self, *, options: CallOptions = NO_OPTIONS, **parameters: Any) -> Any:
        """A text completion, with a `suffix` fill-in-the-middle: OpenAI's parameters in, LiteLLM's
        `TextCompletionResponse` (or a stream of such) out. Raises a `RequestError`."""
        return python_answer(await self.serve(Call("completions", parameters, options)))

    async def aembedding(self, *, options: CallOptions = NO_OPTIONS, **parameters: Any) -> Any:
        """Embeddings: OpenAI's parameters in, LiteLLM's `EmbeddingResponse` out. Raises a `RequestError`."""
        return python_answer(await self.serve(Call("embeddings", parameters, options)))

    def completion(self, *, options: CallOptions = NO_OPTIONS, **parameters: Any) -> Any:
        """`acompletion` for code that is not asynchronous: the same path, on a loop of the router's own."""
        return self._blocking(self._private.run(self.acompletion(options=options, **parameters)))

    def text_completion(self, *, options: CallOptions = NO_OPTIONS, **parameters: Any) -> Any:
        """`atext_completion` for code that is not asynchronous."""
        return self._blocking(self._private.run(self.atext_completion(options=options, **parameters)))

    def _blocking(self, answer: Any) -> Any:
        return BlockingStream(answer, self._private) if isinstance(answer, PythonStream) else answer

    def embedding(self, *, options: CallOptions = NO_OPTIONS, **parameters: Any) -> Any:
        """`aembedding` for code that is not asynchronous."""
        return self._private.run(self.aembedding(options=options, **parameters))

    async def aoutcome(
        self,
        request_id: str,
        *,
        success: bool | None = None,
        score: float | None = None,
        experiment: str | None = None,
    ) -> None:
        """Say what became of an answer under an experiment, by its `.scribe.request_id`: whether it was right, how good
        it was, or both. The last word on it counts. Raises a `RequestError`."""
        await self.report({"request_id": request_id, "success": success, "score": score, "experiment": experiment})

    def outcome(
        self,
        request_id: str,
        *,
        success: bool | None = None,
        score: float | None = None,
        experiment: str | None = None,
    ) -> None:
        """`aoutcome` for code that is not asynchronous."""
        self._private.run(self.aoutcome(request_id, success=success, score=score, experiment=experiment))

    def explain(self, *, options: CallOptions = NO_OPTIONS, seed: int = 0, **parameters: Any) -> str:
        """Why a request like this would go where: the plan that the router would walk, as text. Sends nothing."""
        return describe(self.plan(Call("chat", parameters, options), seed=seed), self.registry)

    @abstractmethod
    async def serve(self, call: Call, principal: Principal = LOCAL) -> Answer | AnswerStream:
        """Serve one request. Raises a `RequestError`."""

    @abstractmethod
    async def report(self, body: Json, principal: Principal = LOCAL) -> Json:
        """Keep what a client says of an answer under an experiment. Raises a `RequestError`."""

    @abstractmethod
    def plan(self, call: Call, *, seed: int | None = None, principal: Principal = LOCAL) -> Plan:
        """The plan of a call. Raises `ModelNotFound`, `PermissionDenied`, `InvalidRequest` and `CircuitOpen`."""

    @abstractmethod
    async def aclose(self) -> None:
        """Finish what is under way, settle, and let go of connections and files."""

    def close(self) -> None:
        """`aclose` for code that is not asynchronous."""
        self._private.run(self.aclose())
        self._private.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()
