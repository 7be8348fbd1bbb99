"""The threads of ledgers that a test started itself; what tests before it left behind is not its concern."""

import threading

OTHERS: set[threading.Thread] = set()


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "scribe-ledger" and each not in OTHERS]
