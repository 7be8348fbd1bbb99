"""What a client is told after failures: class, status, code, words."""

from math import inf

import pytest

from scribe_router import errors
from scribe_router.deployment import Deployment
from scribe_router.errors import (
    BudgetExceeded,
    CircuitOpen,
    DeadlineExceeded,
    InvalidRequest,
    RateLimitExceeded,
    RequestError,
    UpstreamRateLimited,
)
from scribe_router.exchange import AttemptFailed, Category, Json, Reached
from scribe_router.outcome import LONGEST, error_for, refused
from scribe_router.upstream.failures import concealed


def failed(category: str, *, after: float | None = None, error: Json | None = None) -> AttemptFailed:
    return AttemptFailed(Category(category), Reached.REPLIED, f"({category})", retry_after=after, error=error)


TABLE = [
    # one failure: class, status, type, code, x-should-retry or retry-after
    ("rate_limit", "UpstreamRateLimited", 429, "rate_limit_error", "upstream_rate_limited", "after 1"),
    ("server", "UpstreamError", 502, "upstream_error", "server", "yes"),
    ("network", "UpstreamError", 502, "upstream_error", "network", "yes"),
    ("timeout", "UpstreamError", 502, "upstream_error", "timeout", "yes"),
    ("stream", "UpstreamError", 502, "upstream_error", "stream", "yes"),
    ("not_found", "UpstreamError", 502, "upstream_error", "not_found", "yes"),
    ("authentication", "UpstreamAuthentication", 502, "upstream_error", "upstream_authentication", "no"),
    ("bad_request", "InvalidRequest", 400, "invalid_request_error", "invalid_request", "no"),
    ("context_length", "ContextLengthExceeded", 400, "invalid_request_error", "context_length_exceeded", "no"),
    ("content_policy", "ContentPolicyViolation", 400, "invalid_request_error", "content_filter", "no"),
    ("internal", "InternalError", 500, "server_error", "internal", "yes"),
]


def retry(error: RequestError) -> str:
    headers = error.headers()
    if "retry-after" in headers:
        return f"after {headers['retry-after']}"
    return "no" if headers.get("x-should-retry") == "false" else "yes"


@pytest.mark.parametrize(("category", "name", "status", "kind", "code", "again"), TABLE, ids=[row[0] for row in TABLE])
def test_one_failure(category: str, name: str, status: int, kind: str, code: str, again: str) -> None:
    error = error_for([failed(category)], None)
    assert type(error) is getattr(errors, name)
    assert (error.status, error.type, error.code, retry(error)) == (status, kind, code, again)
    assert f"({category})" in error.message
    assert error.to_openai()["error"]["message"] == error.message


def test_every_category_is_in_the_table() -> None:
    assert {row[0] for row in TABLE} == {category.value for category in Category}


@pytest.mark.parametrize(
    ("categories", "code", "message"),
    [
        ("server server", "server", "(server), after 2 attempts"),
        ("rate_limit rate_limit", "upstream_rate_limited", "(rate_limit), after 2 attempts"),
        # a rate limit only where nothing else of the kind happened
        ("server rate_limit", "server", "(server), after 2 attempts"),
        ("rate_limit timeout", "timeout", "(timeout), after 2 attempts"),
        ("rate_limit authentication", "upstream_rate_limited", "(rate_limit), after 2 attempts"),
        # what passes with time before what does not
        ("server authentication", "server", "(server), after 2 attempts"),
        ("authentication server", "server", "(server), after 2 attempts"),
        ("network server not_found", "server", "(server), after 3 attempts"),
        ("rate_limit context_length", "upstream_rate_limited", "(rate_limit), after 2 attempts"),
        ("context_length server", "server", "(server), after 2 attempts"),
        ("authentication not_found", "not_found", "(not_found), after 2 attempts"),
        ("not_found authentication", "upstream_authentication", "(authentication), after 2 attempts"),
        (
            "context_length context_length",
            "context_length_exceeded",
            "the request is too long for every candidate: (context_length), after 2 attempts",
        ),
        # what ends a walk is what is told
        ("server bad_request", "invalid_request", "(bad_request)"),
        ("server content_policy", "content_filter", "(content_policy), after 2 attempts"),
        ("rate_limit internal", "internal", "(internal), after 2 attempts"),
    ],
)
def test_several_failures(categories: str, code: str, message: str) -> None:
    error = error_for([failed(category) for category in categories.split()], None)
    assert (error.code, error.message) == (code, message)


def test_the_shortest_retry_after_is_handed_on() -> None:
    failures = [failed("rate_limit", after=30.0), failed("rate_limit", after=12.0), failed("rate_limit")]
    assert retry(error_for(failures, None)) == "after 12"


# -- ended by us

SHORT = BudgetExceeded("limit user-day has 0.01 of 1 usd left", limit="user-day")
LATE = DeadlineExceeded("the deadline passed")


def test_nothing_was_tried() -> None:
    assert error_for([], SHORT) is SHORT
    assert error_for([], LATE) is LATE
    assert error_for([], None).code == "internal"


def test_money_names_the_limit_after_a_providers_error() -> None:
    error = error_for([failed("server")], SHORT)
    assert (type(error), error.status, error.code) == (errors.UpstreamError, 502, "server")
    assert error.message == "(server); nothing else was tried: limit user-day has 0.01 of 1 usd left"
    assert str(error) == error.message


def test_the_deadline_says_what_went_wrong_last() -> None:
    error = error_for([failed("server"), failed("rate_limit")], LATE)
    assert (type(error), error.status) == (DeadlineExceeded, 504)
    assert error.message == "the deadline passed after 2 attempts; the last failure: (rate_limit)"


@pytest.mark.parametrize(
    "left_alone", [kind("it is open") for kind in (CircuitOpen, UpstreamRateLimited, RateLimitExceeded)]
)
def test_a_deployment_that_is_left_alone_is_named_after_a_providers_error(left_alone: RequestError) -> None:
    error = error_for([failed("server")], left_alone)
    assert (type(error), error.message) == (errors.UpstreamError, "(server); nothing else was tried: it is open")
    assert error_for([], left_alone) is left_alone
    assert refused([SHORT, left_alone]) is left_alone, "it passes with time, money does not"
    assert refused([SHORT]) is SHORT


@pytest.mark.parametrize("kind", [CircuitOpen, UpstreamRateLimited, RateLimitExceeded])
def test_of_refusals_that_pass_the_one_where_room_comes_soonest_is_told(kind: type[RequestError]) -> None:
    soon, later = kind("soon", retry_after=3.0), CircuitOpen("later", retry_after=40.0)
    never = RateLimitExceeded("it is larger than the limit", retry_after=inf)
    assert refused([SHORT, never, later, soon, kind("as soon", retry_after=3.0)]) is soon
    assert refused([SHORT, never]) is never
    assert refused([]) is None


def test_another_refusal_of_ours_stands() -> None:
    ours = InvalidRequest("temperature is wrong", param="temperature")
    assert error_for([failed("server")], ours) is ours


# -- the provider's own words


@pytest.mark.parametrize(
    ("error", "message", "param"),
    [
        (None, "(bad_request)", None),
        ({"message": "no such tool", "param": "tools"}, "(bad_request): no such tool", "tools"),
        ({"message": ["x"], "param": 5}, "(bad_request)", None),
        ({"code": "x"}, "(bad_request)", None),
    ],
)
def test_a_bad_request_is_in_the_providers_words(error: Json | None, message: str, param: str | None) -> None:
    found = error_for([failed("bad_request", error=error)], None)
    assert (found.message, found.param) == (message, param)


def test_long_words_are_cut() -> None:
    found = error_for([failed("bad_request", error={"message": "x" * 10_000})], None)
    assert len(found.message) == LONGEST


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefgh12345678",
        "sk-ant-api03-Abc_def-123456",
        "sk-****************abcd",
        "AIzaSyA-1234567890abcdef",
        "gsk_abcdefgh12345678",
        "xai-abcdefgh12345678",
        "key-abcdefgh12345678",
        "Bearer abcdefgh",
        "https://host/?key=abcdefgh&x=1",
    ],
)
def test_words_that_look_like_a_key_are_taken_out(secret: str) -> None:
    error = {"message": f"the header {secret} is not what it should be"}
    message = error_for([failed("bad_request", error=error)], None).message
    assert "(a key)" in message
    assert message.endswith("is not what it should be")
    assert not any(part in message for part in ("abcd", "1234", "****"))


@pytest.mark.parametrize(
    "words", ["the task-oriented model", "a risk-free key", "the key is a string", "pk is unknown"]
)
def test_ordinary_words_stay(words: str) -> None:
    assert error_for([failed("bad_request", error={"message": words})], None).message.endswith(words)


def test_a_providers_words_lose_keys_and_tokens() -> None:
    token = "sk-proj-a1B2c3D4e5F6g7H8i9J0k1"
    words = f"bad key {token}, header Authorization: Bearer {'aB1' * 12} sk-proj-****abcd"
    failed = AttemptFailed(Category.BAD_REQUEST, Reached.REPLIED, "refused", error={"message": words})
    told = error_for([failed], None)
    assert isinstance(told, InvalidRequest)
    assert told.message == "refused: bad key (a key), header Authorization: (a key) (a key)"


def test_what_a_provider_repeats_of_our_secrets_is_not_passed_on() -> None:
    headers = {"X-Team": "hunter2-team", "X-Short": "none", "anthropic-version": "2023-06-01"}
    given = {"aws_secret_access_key": "hunter2-aws", "aws_region_name": "eu-central-1"}
    deployment = Deployment(
        "a", "a", "openai", "openai/a", "a", "openai", "wire",
        api_base="http://host/v1?key=hunter2-query", api_key="hunter2-key", headers=headers, litellm_params=given,
    )  # fmt: skip
    assert set(deployment.secrets) == {"hunter2-team", "hunter2-key", "hunter2-aws", "key=hunter2-query"}
    said = "eu-central-1 knows no hunter2-key-hunter2-team, none; 2023-06-01 /v1?key=hunter2-query"
    error = concealed({"message": said, "param": "hunter2-aws", "code": 5}, deployment.secrets)
    shown = "eu-central-1 knows no (a secret)-(a secret), none; 2023-06-01 /v1?(a secret)"
    assert error == {"message": shown, "param": "(a secret)", "code": 5}
    assert concealed(None, deployment.secrets) is None
