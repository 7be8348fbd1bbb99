"""What a tool answered, as a model is told of it, and the price that its server reports. Pure; knows MCP's format."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import ceil

from mcp_types import CallToolResult, TextResourceContents

from scribe_router.exchange import ToolOutcome
from scribe_router.money import NANO

MOST_REPORTED = 10**18  # nano-dollars


@dataclass(frozen=True, slots=True)
class ToolReply:
    """What became of a call: what the model is told, and the price that the server reported, in nano-dollars."""

    outcome: ToolOutcome
    text: str
    reported: int | None = None


def text_of(result: CallToolResult) -> str:
    """What a model is told of a result: its texts; of what is no text, what it is."""
    texts = []
    for part in result.content:
        if part.type == "text":
            texts.append(part.text)
        elif part.type == "resource" and isinstance(part.resource, TextResourceContents):
            texts.append(part.resource.text)
        else:
            kind = getattr(part, "mime_type", None) or part.type
            texts.append(f"[{kind}, which cannot be shown here]")
    if not texts and result.structured_content is not None:
        texts.append(json.dumps(result.structured_content, ensure_ascii=False))
    return "\n".join(texts)


def cut(text: str, most: int) -> str:
    """The text, not longer than so many bytes in a JSON body, and what was left out."""
    size = len(json.dumps(text, ensure_ascii=False).encode(errors="replace"))
    if size <= most:
        return text
    note = f"\n[cut: {size} bytes, {most} are allowed]"
    kept = text[:most]
    while kept and len(json.dumps(kept + note, ensure_ascii=False).encode(errors="replace")) > most:
        kept = kept[: max(0, int(len(kept) * 0.9) - 1)]
    return kept + note


def reported(result: CallToolResult) -> int | None:
    """The price in `_meta.cost.usd`, in nano-dollars rounded up; None where there is none, or it is no price."""
    cost = (result.meta or {}).get("cost")
    usd = cost.get("usd") if isinstance(cost, Mapping) else None
    if isinstance(usd, bool) or not isinstance(usd, int | float | str):
        return None
    try:
        amount = Decimal(str(usd)) * NANO
        return ceil(amount) if 0 <= amount <= MOST_REPORTED else None
    except ArithmeticError:
        return None
