"""The one way to import LiteLLM: quietly. Set before its import: no download of prices or headers, no stray `.env`.

At DEBUG it and the clients below it log the headers of every call, keys among them, at INFO what a provider said. Where
a job turns everything to these they stay at WARNING, unless LITELLM_LOG, OPENAI_LOG or the job names them.
"""

import logging
import os
from functools import lru_cache
from typing import Any

SETTINGS = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}


_TALKATIVE = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "openai", "anthropic")


@lru_cache(maxsize=1)
def litellm() -> Any:
    """The module, imported on first use: that takes about four seconds."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import litellm as module

    for name in _TALKATIVE if "LITELLM_LOG" not in os.environ else ():
        logger = logging.getLogger(name)
        logger.setLevel(logger.level or logging.WARNING)
        logger.addFilter(_says_no_link)
    module.telemetry = False
    module.suppress_debug_info = True
    module.disable_hf_tokenizer_download = True  # else it asks huggingface.co how to count, in the middle of a call
    return module


def _says_no_link(record: logging.LogRecord) -> bool:
    """Whether a record may be written: those of what fetches links quote them, and a link is what somebody wrote."""
    return record.module != "image_handling"
