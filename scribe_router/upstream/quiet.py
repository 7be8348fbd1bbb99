"""The one way to import LiteLLM: quietly. Set before its import: no download of prices or headers, no stray `.env`."""

import os
from functools import lru_cache
from typing import Any

SETTINGS = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}


@lru_cache(maxsize=1)
def litellm() -> Any:
    """The module, imported on first use: that takes about four seconds."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import litellm as module

    module.telemetry = False
    module.suppress_debug_info = True
    module.disable_hf_tokenizer_download = True  # else it asks huggingface.co how to count, in the middle of a call
    return module
