"""What is private in requests, answers and records, replaced; and put back into answers, where that is asked.

Pure. It knows OpenAI's and Anthropic's bodies, never where they go. Keys of objects, names, ids, addresses, media and
what a vendor has signed stay as they are: something else has to match them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from scribe_router.exchange import Call, Json
from scribe_router.patterns import KINDS, find
from scribe_router.patterns.credentials import given, names_password
from scribe_router.policies.redaction import PLACES, Kinds, RedactionPolicy, Where

# Of a request, what holds somebody's words.
CONTENT = ("messages", "prompt", "suffix", "input", "prediction", "system", "instructions", "user", "safety_identifier")
KEPT = frozenset(
    "id type role name model object format detail media_type tool_call_id tool_use_id call_id item_id index url data "
    "file_data file_id image_url signature thinking_blocks reasoning_details reasoning_items encrypted_content "
    "provider_specific_fields extra_content cache_control finish_reason logprobs".split()
)
_ARGUMENTS = ("input", "arguments")  # of a call of a tool, as an object
HASH_BYTES = 5
_SHOWN = 3  # letters of an address of mail
_LETTERS = str.maketrans("0123456789", "ghijklmnop")  # a placeholder without digits is nobody's number
_ALWAYS: Kinds = tuple((kind, KINDS[kind]) for kind in ("key", "token"))
Secrets = Mapping[str, str]  # placeholder to what it stands for


class Mask:
    """Replaces what is private of some kinds, in any number of texts, and remembers what it replaced."""

    def __init__(self, kinds: Kinds, key: bytes, reach: int = 0) -> None:
        self.kinds, self.reach, self._key = kinds, reach, key
        self.names = frozenset(kind for kind, _ in kinds)
        self._replaced: dict[str, str | None] = {}

    @property
    def secrets(self) -> Secrets:
        """What each placeholder stands for; one that stands for two addresses of mail is left out."""
        return {name: secret for name, secret in self._replaced.items() if secret is not None}

    def stand_in(self, kind: str, secret: str) -> str:
        """The placeholder of a secret."""
        name = _stand_in(kind, secret, self._key)
        self._replaced[name] = secret if self._replaced.get(name, secret) == secret else None
        return name

    def text(self, text: str, start: int = 0) -> str:
        """A text from `start` on, as words."""
        parts, at = [], start
        for found in find(text, self.kinds, start):
            parts += [text[at : found.start], self.stand_in(found.kind, text[found.start : found.end])]
            at = found.end
        return "".join((*parts, text[at:]))

    def words(self, text: str) -> str:
        """A text that may be JSON as a whole, which it then still is."""
        if text.lstrip()[:1] not in ("{", "["):
            return self.text(text)
        try:
            value = json.loads(text)
            inside = self.inside(value)
        except (ValueError, RecursionError):
            return self.text(text)
        return text if inside == value else json.dumps(inside, ensure_ascii=False)

    def inside(self, value: Any, name: str = "") -> Any:
        """Any value, whatever its fields are called; `name` is that of the field that it stands in."""
        if isinstance(value, str):
            if "password" in self.names and names_password(name) and given(value):
                return self.stand_in("password", value)
            head = f"{name}: " if name else ""
            return self.words(value) if not head else self._told(head, value)
        if isinstance(value, Mapping):
            return {key: self.inside(each, str(key)) for key, each in value.items()}
        return [self.inside(each, name) for each in value] if isinstance(value, list) else value

    def _told(self, head: str, value: str) -> str:
        """A value behind the name of its field, which may say what it is."""
        return self.words(value) if value.lstrip()[:1] in ("{", "[") else self.text(head + value, len(head))

    def content(self, value: Any) -> Any:
        """A part of a body: its words, and not what something else has to match."""
        if isinstance(value, str):
            return self.words(value)
        if isinstance(value, Mapping):
            return {key: self._field(key, each) for key, each in value.items()}
        return [self.content(each) for each in value] if isinstance(value, list) else value

    def _field(self, key: str, value: Any) -> Any:
        if key in KEPT:
            return value
        return self.inside(value) if key in _ARGUMENTS and isinstance(value, Mapping) else self.content(value)

    def descriptions(self, value: Any, key: str = "") -> Any:
        """The descriptions in tools and schemas; what a model has to match stays."""
        if isinstance(value, str):
            return self.text(value) if key == "description" else value
        if isinstance(value, Mapping):
            return {name: self.descriptions(each, name) for name, each in value.items()}
        return [self.descriptions(each) for each in value] if isinstance(value, list) else value


class Redaction:
    """What a policy makes of requests, answers and records; without one, nothing. `fallback` is the key for the
    placeholders where the policy has none."""

    def __init__(self, policy: RedactionPolicy | None, fallback: bytes) -> None:
        self._policy = policy or RedactionPolicy(journal=())
        key = self._policy.key.get_secret_value().encode() or fallback
        self._key = hashlib.blake2b(key, digest_size=32).digest()
        self._kinds = {place: self._policy.kinds(place) for place in PLACES}
        self._reach = self._policy.reach

    def request(self, call: Call) -> tuple[Call, Secrets]:
        """A call as it goes upstream; and what an answer gets back, where that is asked."""
        mask = self._mask("upstream")
        if mask is None:
            return call, {}
        body = {name: self._shown(mask, name, value) for name, value in call.body.items()}
        return replace(call, body=body), mask.secrets if self._policy.restore else {}

    def _shown(self, mask: Mask, name: str, value: Any) -> Any:
        if name in CONTENT:
            return mask.content(value)
        if name in ("tools", "functions", "response_format"):
            return mask.descriptions(value)
        return mask.inside(value) if name == "metadata" else value

    def told(self, text: str) -> str:
        """What a tool said, as a model may read it."""
        mask = self._mask("upstream")
        return text if mask is None else mask.words(text)

    def answer(self, body: Json) -> Json:
        """A plain answer as a client gets it."""
        mask = self._mask("answers")
        if mask is None or not isinstance(body.get("choices"), list):
            return body
        return {**body, "choices": [unweighed(mask.content(choice)) for choice in body["choices"]]}

    def answering(self) -> Mask | None:
        """For one answer that comes in parts; None where answers stay as they are."""
        return self._mask("answers")

    def record(self, content: Any) -> Any:
        """What a journal keeps of a request or an answer."""
        mask = self._mask("journal")
        return content if mask is None else mask.content(content)

    def _mask(self, place: Where) -> Mask | None:
        kinds = self._kinds[place]
        return Mask(kinds, self._key, self._reach) if kinds else None


def unweighed(choice: Any) -> Any:
    """A choice without the probabilities of its tokens, which spell it out."""
    return {**choice, "logprobs": None} if isinstance(choice, Mapping) and choice.get("logprobs") else choice


def _stand_in(kind: str, secret: str, key: bytes) -> str:
    if kind == "email":
        local, _, host = secret.rpartition("@")
        return f"{local[: min(_SHOWN, len(local) // 2)]}***@{host}"
    digest = hashlib.blake2b(f"{kind}:{secret}".encode("utf-8", "surrogatepass"), key=key, digest_size=HASH_BYTES)
    return f"[{kind}:{digest.hexdigest().translate(_LETTERS)}]"


def restored(answer: Json, secrets: Secrets) -> Json:
    """A plain answer with what the placeholders in it stand for."""
    if not secrets or not isinstance(answer.get("choices"), list):
        return answer
    return {**answer, "choices": [_restored(each, secrets, "") for each in answer["choices"]]}


def _restored(value: Any, secrets: Secrets, key: str) -> Any:
    if isinstance(value, str):
        return put_back(value, secrets, within_json=key == "arguments")
    if isinstance(value, Mapping):
        return {name: each if name in KEPT else _restored(each, secrets, name) for name, each in value.items()}
    return [_restored(each, secrets, key) for each in value] if isinstance(value, list) else value


def put_back(text: str, secrets: Secrets, *, within_json: bool) -> str:
    """A text with what its placeholders stand for; within JSON as JSON says it."""
    for name, secret in secrets.items():
        if name in text:
            text = text.replace(name, json.dumps(secret, ensure_ascii=False)[1:-1] if within_json else secret)
    return text


def without_secrets(text: str) -> str:
    """A text without keys and tokens, whatever is configured: for what may hold a provider's own words."""
    parts, at = [], 0
    for found in find(text, _ALWAYS):
        parts += [text[at : found.start], f"(a {found.kind})"]
        at = found.end
    return "".join((*parts, text[at:]))
