"""What of LiteLLM is mended in place, once in a process: where it loses, repeats or asks what no argument can change.

Knows LiteLLM's classes; nothing of requests or deployments.
"""

from ipaddress import IPv6Network, ip_address
from typing import Any

import aiohttp

from scribe_router.upstream.mark import is_ours
from scribe_router.upstream.quiet import litellm

_VERSION = "anthropic-version"
# Networks whose addresses hold one of IPv4, which may be private, and the site-local ones of old.
_TRANSLATED = tuple(map(IPv6Network, ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "fec0::/10")))


def mend() -> None:
    """Mend it. Once."""
    import httpx
    from litellm.llms.custom_httpx.aiohttp_transport import AIOHTTP_EXC_MAP
    from litellm.llms.ollama.common_utils import OllamaModelInfo

    # It takes a connection that was reset for one that was never made, and sends such a request a second time.
    AIOHTTP_EXC_MAP[aiohttp.ClientOSError] = httpx.ReadError
    _keep_version(litellm().AnthropicConfig)
    _keep_body(litellm().AnthropicConfig)
    # It blocks the loop to ask localhost what a model can do, whatever machine serves it, and shows it the key.
    ollama: Any = OllamaModelInfo
    ollama.get_runtime_model_info = _nothing_known
    _keep_inside()


def _keep_version(config: Any) -> None:
    """Let a deployment's `anthropic-version` leave: LiteLLM writes its own over it."""
    validate = config.validate_environment

    def kept(self: Any, headers: Any, *more: Any, **named: Any) -> Any:
        version = next((value for name, value in headers.items() if name.lower() == _VERSION), None)
        rest = {name: value for name, value in headers.items() if name.lower() != _VERSION}
        return validate(self, rest, *more, **named) | ({} if version is None else {_VERSION: version})

    config.validate_environment = kept


def _keep_body(config: Any) -> None:
    """Let what only Anthropic knows into the body of our attempts: LiteLLM sends it as a field `extra_body`."""
    transform = config.transform_request

    def kept(self: Any, *given: Any, **named: Any) -> Any:
        body = transform(self, *given, **named)
        return {**body.pop("extra_body", {}), **body} if is_ours() else body

    config.transform_request = kept


def _keep_inside() -> None:
    """Let nobody fetch what stands behind a translation of addresses: LiteLLM takes these for public ones."""
    from litellm.litellm_core_utils import url_utils

    blocked = url_utils._is_blocked_ip  # noqa: SLF001  (the one place that all its fetching asks)

    def kept(addr: str) -> bool:
        return blocked(addr) or any(ip_address(addr) in each for each in _TRANSLATED)

    url_utils._is_blocked_ip = kept  # noqa: SLF001


def _nothing_known(_: Any, model: str, *__: Any, **___: Any) -> dict[str, Any]:
    """What LiteLLM makes of an Ollama that does not answer."""
    zero = dict.fromkeys(("input_cost_per_token", "output_cost_per_token"), 0.0)
    unknown = dict.fromkeys(("max_tokens", "max_input_tokens", "max_output_tokens"))
    return {"key": model, "litellm_provider": "ollama", "mode": "chat", **zero, **unknown}
