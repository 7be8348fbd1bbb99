"""`python -m scribe_router` is `scribe-router`."""

from scribe_router.cli import main

main()
