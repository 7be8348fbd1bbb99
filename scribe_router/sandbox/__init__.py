"""A fake provider on a real socket: the router without keys, and the upstream of its tests.

It speaks the OpenAI wire (`/v1`), Anthropic's (`/anthropic`), Gemini's (`/gemini`) and Ollama's (`/ollama`). The
model's name chooses the behaviour: `echo`, `error-429`, `slow-500ms+no-usage`, `cut-after-5` and many more, listed in
`behaviour.py`. It is apart from the router, and imports neither it nor LiteLLM, so that it cannot share their mistakes.

    async with Sandbox() as sandbox:
        ...  # call sandbox.url + "/v1", then look at sandbox.received
"""

from scribe_router.sandbox.received import Received
from scribe_router.sandbox.server import Sandbox, serve
from scribe_router.sandbox.thread import SandboxThread, running_sandbox

__all__ = ["Received", "Sandbox", "SandboxThread", "running_sandbox", "serve"]
