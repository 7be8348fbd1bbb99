"""How many examples hypothesis tries: some whenever the tests run, all of them with `--hypothesis-profile all`, which
`make slow` gives to every test that hypothesis makes examples for.
"""

from hypothesis import settings

SHARE, LEAST = 5, 20
USUAL = settings.get_profile(settings.get_current_profile_name())  # of hypothesis itself: another where CI is set

settings.register_profile("all", USUAL)
settings.register_profile("some", USUAL, max_examples=USUAL.max_examples // SHARE)
settings.load_profile("some")


def examples(number: int) -> int:
    """`number` in the profile `all`, elsewhere a fifth of it, but never fewer than twenty."""
    if settings.get_current_profile_name() == "all":
        return number
    return max(number // SHARE, min(number, LEAST))
