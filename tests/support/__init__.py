"""What tests of several parts share: a sandbox, routers built from YAML text, and a proxy on a real socket."""

import os

# LiteLLM reads these when it is imported; without them it fetches tables from the network and loads a .env file.
os.environ.update(
    LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION", LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS="True"
)
