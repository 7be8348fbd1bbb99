"""Clocks of a connection that uvicorn lacks: for a request's head, and for a body that nobody waits for any more.

A body that is waited for has its clock in `body`. Upgrades are passed over in silence.
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0


class TimedProtocol(H11Protocol):
    """Closes a connection whose next head is begun (or whose first is awaited) and not there after `HEAD_SECONDS`, and
    one on which a body goes on for as long after its answer."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent's
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; where its request is answered already, in part or in whole, only hang up. uvicorn
        answers twice, which is a fault in the log that any stranger can write."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        super().send_400_response(msg)

    def _unsupported_upgrade_warning(self) -> None:
        """Not a word: anybody could fill the log with uvicorn's two lines, and some clients offer HTTP/2 each time."""

    def _watch(self) -> None:
        theirs = self.conn.their_state
        begun = theirs is h11.IDLE and bool(self.conn.trailing_data[0])
        unread = theirs is h11.SEND_BODY and self.conn.our_state is h11.DONE
        if begun or unread:
            self._arm()
        else:
            self._disarm()

    def _arm(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._end)

    def _disarm(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _end(self) -> None:
        self._late = None
        self.transport.abort()
