"""The lanes and what they make of requests, replies and failures, against real sockets."""
