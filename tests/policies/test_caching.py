"""Where the marks for a prompt cache stand, and when there are none."""

from typing import Any

import pytest

from scribe_router.policies.caching import marked

LONG = "word " * 1_000
FIVE, HOUR = {"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
SYSTEM, HELLO = {"role": "system", "content": LONG}, {"role": "user", "content": "hello"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://host/cat.png"}}
TOOLS = [{"type": "function", "function": {"name": name}} for name in "ab"]


def text(said: str, mark: Any = None) -> dict[str, Any]:
    return {"type": "text", "text": said, **(mark or {})}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def messages(*said: Any, ttl: str = "5m") -> Any:
    return marked({"messages": list(said)}, ttl, minimum=1_024, tools=True)["messages"]


def test_the_ends_of_tools_system_and_last_message_are_marked() -> None:
    body: dict[str, Any] = {
        "messages": [SYSTEM, HELLO, {"role": "assistant", "content": "hi"}, HELLO],
        "tools": TOOLS,
        "top_p": 1,
    }
    found = marked(body, "1h", minimum=1_024, tools=True)
    assert found["tools"] == [TOOLS[0], {**TOOLS[1], **HOUR}]
    assert found["messages"] == [
        {"role": "system", "content": [text(LONG, HOUR)]},
        *body["messages"][1:3],
        user(text("hello", HOUR)),
    ]
    assert found["top_p"] == 1
    assert body["tools"] == TOOLS
    assert body["messages"][0] == SYSTEM
    assert marked(body, "1h", minimum=1_024, tools=False)["tools"] == TOOLS


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([user(text(LONG), text("b"), IMAGE)], [user(text(LONG), text("b", FIVE), IMAGE)]),
        ([SYSTEM], [{"role": "system", "content": [text(LONG, FIVE)]}]),
        ([SYSTEM, user(IMAGE)], [{"role": "system", "content": [text(LONG, FIVE)]}, user(IMAGE)]),
        (
            [{"role": "system", "content": "a"}, {"role": "developer", "content": LONG}, user(text(" "))],
            [{"role": "system", "content": "a"}, {"role": "developer", "content": [text(LONG, FIVE)]}, user(text(" "))],
        ),
        (
            [user(text(LONG)), {"role": "assistant", "content": None, "tool_calls": []}],
            [user(text(LONG)), {"role": "assistant", "content": None, "tool_calls": []}],
        ),
    ],
    ids=["before an image", "one message", "no text", "two instructions", "no content"],
)
def test_only_text_is_marked(said: list[Any], expected: list[Any]) -> None:
    assert messages(*said) == expected


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [HELLO]},
        {"messages": [{"role": "user", "content": "x" * 4_000}]},
        {"messages": [SYSTEM, user(text("hi", FIVE))]},
        {"messages": [SYSTEM, {**HELLO, **FIVE}]},
        {"messages": [SYSTEM, HELLO], "tools": [{**TOOLS[0], **FIVE}]},
        {"messages": [SYSTEM, HELLO], **FIVE},
    ],
    ids=["short", "a little short", "a part", "a message", "a tool", "the request"],
)
def test_short_prompts_and_marks_of_the_clients_are_left_alone(body: dict[str, Any]) -> None:
    assert marked(body, "5m", minimum=1_024, tools=True) == body


def test_talk_of_marks_is_no_mark() -> None:
    said = LONG + ' {"cache_control": {"type": "ephemeral"}}'
    assert messages({"role": "user", "content": said}) == [user(text(said, FIVE))]


def test_tools_of_no_shape_are_left_to_the_provider() -> None:
    assert marked({"messages": [SYSTEM], "tools": ["?"]}, "5m", minimum=1, tools=True)["tools"] == ["?"]
