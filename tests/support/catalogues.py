"""A provider's list of models, in OpenRouter's format. Names and prices are made up."""

import json
from typing import Any

Model = dict[str, Any]


def model(name: str, prompt: str = "0.000002", completion: str = "0.00001", **more: Any) -> Model:
    """One model; `pricing` adds prices to the two of its tokens."""
    pricing = {"prompt": prompt, "completion": completion, **more.pop("pricing", {})}
    return {"id": name, "name": name.title(), "pricing": pricing, **more}


RICH = model(
    "maker/rich",
    "0.00000025",
    "0.0000015",
    pricing={
        "input_cache_read": "0.000000025",
        "input_cache_write": "0.0000003125",
        "internal_reasoning": "0",
        "request": "0.005",
        "image": "0.001",
        "web_search": "0.01",
    },
    context_length=200000,
    top_provider={"max_completion_tokens": 8192, "is_moderated": True},
    architecture={"input_modalities": ["text", "image"], "output_modalities": ["text"], "tokenizer": "Other"},
    supported_parameters=["tools", "reasoning", "structured_outputs", "max_tokens"],
    reasoning={"supports_max_tokens": False, "mandatory": True},
    expiration_date="2027-01-31",
)
PLAIN = model("maker/plain", context_length=32768)
FREE = model("maker/plain:free", "0", "0", context_length=32768)
NOTHING = model("maker/nothing", "0", "0")
AUTO = model("openrouter/auto", "-1", "-1", context_length=2000000)
MODELS = [RICH, PLAIN, FREE, NOTHING, AUTO]


def listed(*models: Model, following: str | None = None) -> bytes:
    """The reply of `/models`."""
    links = {"links": {"next": following}} if following else {}
    return json.dumps({"data": models, **links}).encode()
