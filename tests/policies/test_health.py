"""When a host is asked, and what its answer says."""

import pytest

from scribe_router.exchange import AttemptFailed, Category, Reached
from scribe_router.policies.health import HealthPolicy, Probes, told, verdict


def failed(category: Category, status: int | None = None) -> AttemptFailed:
    return AttemptFailed(category, Reached.REPLIED, "m", status=status)


@pytest.mark.parametrize(
    ("failure", "public", "said"),
    [
        (None, False, "right"),
        (None, True, "unknown"),
        (failed(Category.AUTHENTICATION, 401), False, "wrong"),
        (failed(Category.AUTHENTICATION, 403), False, "wrong"),
        (failed(Category.AUTHENTICATION, 400), False, "wrong"),  # in Gemini's words
        (failed(Category.AUTHENTICATION, 402), False, "unknown"),  # no money is no wrong key
        (failed(Category.AUTHENTICATION, 429), False, "unknown"),
        (failed(Category.NOT_FOUND, 404), False, "unknown"),
        (failed(Category.RATE_LIMIT, 429), False, "unknown"),
        (failed(Category.SERVER, 500), False, "unknown"),
        (failed(Category.NETWORK), False, "unknown"),
        (failed(Category.TIMEOUT), False, "unknown"),
    ],
)
def test_what_an_answer_says_of_a_key(failure: AttemptFailed | None, said: str, *, public: bool) -> None:
    assert verdict(failure, public=public) == said


@pytest.mark.parametrize(
    ("which", "circuit", "opened_by", "due"),
    [
        ("open", "closed", None, False),
        ("open", "open", Category.NETWORK, False),
        ("open", "half_open", Category.NETWORK, True),
        ("open", "half_open", Category.TIMEOUT, True),
        ("open", "half_open", Category.AUTHENTICATION, True),
        ("open", "half_open", Category.SERVER, False),
        ("open", "half_open", Category.STREAM, False),
        ("open", "half_open", Category.NOT_FOUND, False),
        ("all", "closed", Category.SERVER, True),
        ("all", "open", Category.NETWORK, False),
        ("all", "half_open", Category.SERVER, False),
        ("all", "half_open", Category.NETWORK, True),
    ],
)
def test_who_is_asked_about(which: str, circuit: str, opened_by: Category | None, *, due: bool) -> None:
    assert Probes.model_validate({"which": which}).due(circuit, opened_by) is due


@pytest.mark.parametrize(
    ("failure", "opened_by", "says"),
    [
        (None, Category.NETWORK, True),
        (None, Category.SERVER, False),
        (None, None, False),
        (failed(Category.NETWORK), None, True),
        (failed(Category.AUTHENTICATION, 401), Category.SERVER, True),
        (failed(Category.NOT_FOUND, 404), Category.NETWORK, False),
        (failed(Category.RATE_LIMIT, 429), Category.NETWORK, False),
        (failed(Category.SERVER, 503), Category.NETWORK, False),
        (failed(Category.INTERNAL), Category.NETWORK, False),
    ],
)
def test_a_list_says_nothing_of_its_models(
    failure: AttemptFailed | None, opened_by: Category | None, *, says: bool
) -> None:
    assert told(failure, opened_by) is says


def test_nothing_is_asked_unless_somebody_says_so() -> None:
    assert (HealthPolicy().verify, HealthPolicy().probes) == ("off", None)
