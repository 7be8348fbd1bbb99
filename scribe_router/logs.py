"""What is logged, and how a line looks. A warning may hold another's words, a traceback whatever an exception says;
both lose keys and tokens. A message is one line, and nothing in it is obeyed by a terminal."""

import logging
from typing import Any

from scribe_router.encoding import tame
from scribe_router.redaction import without_secrets


class Discreet(logging.Formatter):
    """Lines without keys and tokens. What is no warning is in our own words."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (its name)
        return tame(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  (its name)
        return "\n".join(map(tame, super().formatException(ei).split("\n")))

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return without_secrets(line) if record.levelno >= logging.WARNING else line


def log_requests() -> None:
    """A line for each request, and every warning, on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(Discreet("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("scribe_router").setLevel(logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns when a client hangs up
