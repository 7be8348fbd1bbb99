"""What an operator may ask for, and what becomes of a text, a body and an answer."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from scribe_router.exchange import Call, Json
from scribe_router.patterns import KINDS
from scribe_router.policies.redaction import RedactionPolicy
from scribe_router.redaction import Mask, Redaction, restored, without_secrets

KEY = b"0123456789abcdef"
CARD, MAIL = "4111 1111 1111 1111", "jane.doe@example.com"
TOKEN = "sk-proj-a1B2c3D4e5F6g7H8i9J0k1"
PRIVATE = f"pay {CARD} for {MAIL} with {TOKEN}"


def redaction(**settings: Any) -> Redaction:
    return Redaction(RedactionPolicy.model_validate({"upstream": list(KINDS), **settings}), KEY)


def sent(body: Json, **settings: Any) -> Json:
    return redaction(**settings).request(Call("chat", body))[0].body


def masked(text: str, **settings: Any) -> str:
    shown: str = sent({"prompt": text}, **settings)["prompt"]
    return shown


def test_absent_and_as_shipped_nothing_goes_another_way() -> None:
    call = Call("chat", {"messages": [{"role": "user", "content": PRIVATE}]})
    for policy in (None, RedactionPolicy()):
        off = Redaction(policy, KEY)
        assert off.request(call) == (call, {})
        assert off.answering() is None
        assert off.answer({"choices": [PRIVATE]}) == {"choices": [PRIVATE]}
    assert Redaction(None, KEY).record(PRIVATE) == PRIVATE
    assert Redaction(RedactionPolicy(), KEY).record({"content": PRIVATE}) == {"content": masked(PRIVATE)}


def test_a_placeholder_keeps_the_kind_and_a_hash_with_a_key() -> None:
    text = masked(PRIVATE)
    assert text == masked(PRIVATE)
    card, mail, key = text.split()[1], text.split()[3], text.split()[5]
    assert (card[:6], mail, key[:5]) == ("[card:", "jan***@example.com", "[key:")
    assert masked(f"{CARD}, {CARD}") == f"{card}, {card}"
    assert masked(CARD.replace(" ", "-")) != card
    own = [masked(CARD, key="a key of the operator's own"), redaction(key="a key of the operator's own").record(CARD)]
    assert own[0] == own[1] != card
    assert Redaction(RedactionPolicy(), b"of another process").record(CARD) != card


def test_what_is_redacted_stays_as_it_is() -> None:
    once = masked(f"password: x1!y-z, phone: 4155550132, {PRIVATE}")
    assert "4155550132" not in once
    assert masked(once) == once


def test_only_the_kinds_that_are_named() -> None:
    assert masked(PRIVATE, upstream=["email"]) == f"pay {CARD} for jan***@example.com with {TOKEN}"
    assert masked("a@example.com", upstream=["email"]) == "***@example.com"


def test_patterns_of_ones_own() -> None:
    own = [{"kind": "employee", "regex": r"EMP-\d{6}"}, {"kind": "card", "regex": r"card no\. (\d{4})\b"}]
    text = masked("EMP-123456 has card no. 1234", patterns=own, upstream=["employee", "card"])
    assert text.startswith("[employee:")
    assert "has card no. [card:" in text
    assert masked("EMP-123456", patterns=own) == "EMP-123456"
    unknown = RedactionPolicy.model_validate({"patterns": own, "answers": ["employee", "employe"]}).unknown()
    assert list(unknown) == [("answers", 1, "employe")]


@pytest.mark.parametrize(
    "settings",
    [{"patterns": [{"kind": "x", "regex": "(a+)+"}]}, {"patterns": [{"kind": "A b", "regex": "a"}]}, {"key": "short"}],
)
def test_refused(settings: Json) -> None:
    with pytest.raises(ValidationError):
        RedactionPolicy.model_validate(settings)


def test_the_walk_takes_words_and_leaves_what_must_match() -> None:
    data = f"data:image/png;base64,{'A' * 40}/{CARD.replace(' ', '')}/"
    image = {"type": "image_url", "image_url": {"url": data}}
    tool = {"name": "f", "description": PRIVATE, "parameters": {"enum": [MAIL]}}
    body = {
        "model": TOKEN,
        "user": MAIL,
        "metadata": {"note": PRIVATE, "password": "plain words"},
        "messages": [
            {"role": "system", "content": PRIVATE, "name": MAIL},
            {"role": "user", "content": [{"type": "text", "text": PRIVATE}, image]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": TOKEN, "type": "function", "function": {"name": TOKEN, "arguments": "{}"}}],
                "thinking_blocks": [{"type": "thinking", "thinking": PRIVATE, "signature": TOKEN}],
            },
            {"role": "tool", "tool_call_id": TOKEN, "content": PRIVATE},
            {"role": "user", "content": [{"type": "tool_use", "id": TOKEN, "input": {"url": PRIVATE, CARD: 1}}]},
        ],
        "tools": [{"type": "function", "function": tool}],
        "temperature": 0.5,
        "stop": [MAIL],
    }
    text, shown = masked(PRIVATE), sent(body)
    expected = json.loads(json.dumps(body))
    expected["user"] = "jan***@example.com"
    expected["metadata"] = {"note": text, "password": shown["metadata"]["password"]}
    for place, message in enumerate(expected["messages"]):
        if message["content"] == PRIVATE:
            expected["messages"][place]["content"] = text
    expected["messages"][1]["content"][0]["text"] = text
    expected["messages"][4]["content"][0]["input"]["url"] = text
    expected["tools"][0]["function"]["description"] = text
    assert shown == expected
    assert shown["metadata"]["password"].startswith("[password:")


@pytest.mark.parametrize(
    "value",
    [
        {"password": 'a"b\\c d', "n": 1.5, "deep": [{"token": [TOKEN]}, None, True]},
        {"cmd": f"curl -H 'Authorization: Bearer {'aB1' * 12}'", "phone": "4155550132"},
        {"inner": json.dumps({"api_key": "aB1cD2eF3gH4iJ5kL6", "pem": "-----BEGIN PRIVATE KEY-----\n" + "Ab1+" * 20})},
        [PRIVATE, "密码\uff1ax1!y"],
    ],
)
def test_arguments_stay_json_and_keys_of_objects_as_they_are(value: Any) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps(value)}}
    shown = sent({"messages": [{"role": "assistant", "tool_calls": [call]}]})
    text = shown["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert shape(json.loads(text)) == shape(value)
    assert json.loads(text) != value
    for secret in ('a"b', TOKEN, "aB1aB1", "4155550132", "aB1cD2", "Ab1+Ab1+", CARD, "x1!y"):
        assert secret not in text


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


def test_json_without_anything_private_is_the_same_text() -> None:
    text = '{"a":  1.10, "b": [1e3]}'
    assert masked(text) == text
    assert masked("[" * 5000) == "[" * 5000
    assert masked("[12:30] hello") == "[12:30] hello"


def test_an_answer_gets_back_what_the_request_said() -> None:
    call = Call("chat", {"messages": [{"role": "user", "content": f'{PRIVATE} password: "q\'1\\2"'}]})
    shown, secrets = redaction(restore=True).request(call)
    text = shown.body["messages"][0]["content"]
    assert CARD in secrets.values()
    assert redaction().request(call)[1] == {}
    said = {"content": text, "tool_calls": [{"id": text, "function": {"arguments": json.dumps({"all": text})}}]}
    answer = restored({"choices": [{"index": 0, "message": said}], "usage": {"n": 1}}, secrets)
    message = answer["choices"][0]["message"]
    assert message["content"] == call.body["messages"][0]["content"]
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"all": message["content"]}
    assert message["tool_calls"][0]["id"] == text


def test_an_address_that_looks_like_another_is_not_put_back() -> None:
    call = Call(
        "chat", {"messages": [{"role": "user", "content": "jane@example.com, janet@example.com, bob@example.com"}]}
    )
    _, secrets = redaction(restore=True).request(call)
    assert secrets == {"b***@example.com": "bob@example.com"}


def test_answers() -> None:
    one = redaction(answers=["card"])
    choice = {"message": {"content": PRIVATE}, "logprobs": {"content": []}, "finish_reason": "stop"}
    shown = one.answer({"choices": [choice], "model": CARD})
    assert CARD not in shown["choices"][0]["message"]["content"]
    assert MAIL in shown["choices"][0]["message"]["content"]
    assert (shown["choices"][0]["logprobs"], shown["model"]) == (None, CARD)
    assert one.answer({"data": [{"embedding": [1.0]}]}) == {"data": [{"embedding": [1.0]}]}


def test_without_secrets_whatever_is_configured() -> None:
    assert without_secrets(f"no such key: {TOKEN}, {CARD}") == f"no such key: (a key), {CARD}"
    assert without_secrets(f"Authorization: Bearer {'aB1' * 12}") == "Authorization: Bearer (a token)"


def test_a_mask_of_no_kinds_changes_nothing() -> None:
    assert Mask((), KEY).words(PRIVATE) == PRIVATE


def test_the_shipped_file_redacts_what_the_journal_keeps_only() -> None:
    shipped = yaml.safe_load((Path(__file__).parents[2] / "policies" / "redaction.yaml").read_text(encoding="utf-8"))
    shipped["key"] = ""
    assert RedactionPolicy.model_validate(shipped) == RedactionPolicy()
