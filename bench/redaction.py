"""What looking for private text costs: `python bench/redaction.py [--quick]`.

Texts of 100 KB and of 1 MB (letters), usual ones and ones made to be slow, through every kind: the least processor
time of some rounds. Exits with 1 when one of 1 MB takes more than 12 times as long as one of 100 KB: then time grows
with more than the length.
"""

import argparse
import base64
import gc
import random
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this tree is measured, wherever else the package is installed

from scribe_router.patterns import KINDS, find  # noqa: E402

SMALL, LARGE = 100_000, 1_000_000
MOST = 12.0
LABELLED = (ROOT / "tests" / "cases" / "redaction.tsv").read_text(encoding="utf-8")
DICE = random.Random(7)
TEXTS = {
    "prose": (ROOT / "docs" / "money.md").read_text(encoding="utf-8"),
    "labelled lines": "".join(letter for letter in LABELLED if letter not in "⟦⟧¦"),
    "base64": base64.b64encode(DICE.randbytes(99_999)).decode(),
    "one word": "a",
    "one number": "4",
    "groups of digits": "4111 ",
    "dates": "2024-01-01 ",
    "addresses without an end": "a.b-c@d.e-",
    "names of keys": "api_key=",
    "passwords in JSON": '{"password": "x1!y", ',
    "names of passwords": "password:",
    "private keys that begin": "-----BEGIN PRIVATE KEY-----\n",
    "tokens that begin": "eyJaaaaaaaa.",
    "keys that begin": "sk-",
    "URLs": "://a:b",
    "telephones": "+49 3",
    "accounts": "DE89 ",
    "data URLs that begin": "data:a;base64,",
    "Chinese": "密码是手机电话",
}


def spent(text: str, times: int) -> float:
    """Processor time of as many searches, in seconds."""
    gc.collect()
    began = time.process_time()
    for _ in range(times):
        find(text, KINDS.items())
    return time.process_time() - began


def measured(text: str, rounds: int) -> tuple[float, float]:
    """The least time of a small text, and of the large one. They take turns, ten small ones to a large one, so that
    whoever else has the machine is in the way of both."""
    times = [(spent(text[:SMALL], 10) / 10, spent(text[:LARGE], 1)) for _ in range(rounds)]
    return min(small for small, _ in times), min(large for _, large in times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 3 if parser.parse_args().quick else 7
    worst = 0.0
    for name, unit in TEXTS.items():
        text = unit * (LARGE // len(unit) + 1)
        small, large = measured(text, rounds)
        worst = max(worst, large / small)
        print(f"{name:<26}{small * 1e3:8.1f} ms{large * 1e3:9.1f} ms{large / small:7.1f} x")
    print(f"\nat most {worst:.1f} times as long for ten times the text; {MOST:g} are allowed")
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
