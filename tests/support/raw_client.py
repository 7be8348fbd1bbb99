"""A connection without a client's manners."""

import socket


def ended(connection: socket.socket) -> bytes:
    """What came until the other end closed."""
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
    except ConnectionResetError:
        return found
    return found
