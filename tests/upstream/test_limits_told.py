"""What a provider says of its limits of rate, as either lane has it."""

from scribe_router.upstream.shape import limits_in


def test_numbers_become_texts() -> None:
    told = {"llm_provider-x-ratelimit-remaining-tokens": 9, "x-ratelimit-limit-requests": "60"}
    assert limits_in(told) == {"remaining-tokens": "9", "limit-requests": "60"}
