"""Server-sent events out of bytes, however they are cut. Knows the event-stream format, nothing of what it carries."""

LARGEST_EVENT = 32 * 1024 * 1024


class EventTooLarge(ValueError):
    """One event is larger than 32 MiB."""


class EventParser:
    """Feed it bytes as they come; it returns the payload (`data:` lines joined) of each event that is complete."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._held = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The payloads that this chunk completes."""
        self._line += chunk
        if b"\n" not in chunk:
            self._bounded(len(self._line))
            return []
        *lines, rest = bytes(self._line).split(b"\n")
        self._line = bytearray(rest)
        found: list[bytes] = []
        for line in lines:
            self._take(line.removesuffix(b"\r"), found)
        return found

    def end(self) -> list[bytes]:
        """The payload of a last event that no empty line closed."""
        found: list[bytes] = []
        self._take(bytes(self._line).removesuffix(b"\r"), found)
        self._take(b"", found)
        self._line.clear()
        return found

    def _take(self, line: bytes, found: list[bytes]) -> None:
        if not line:
            if self._data:
                found.append(b"\n".join(self._data))
                self._data.clear()
                self._held = 0
        elif line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            self._held += len(line)
            self._bounded(self._held)

    def _bounded(self, size: int) -> None:
        if size > LARGEST_EVENT:
            raise EventTooLarge(f"an event of more than {LARGEST_EVENT} bytes")
