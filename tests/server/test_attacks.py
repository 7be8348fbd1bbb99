"""The door as an attacker tries it, byte by byte: no way round it, and no answer that is somebody else's."""

import base64
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from tests.support.proxy import Proxy, serving
from tests.support.raw_client import ended

MASTER = "sk-test-0123456789-abcdefghij"
CONFIG = """
model_list:
  - model_name: echo
    litellm_params: {model: hosted_vllm/echo, api_base: "http://127.0.0.1:9/v1", api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}
"""
RIGHT = f"authorization: Bearer {MASTER}"


class Door:
    """A proxy with a port for its operator, and a key that may little."""

    def __init__(self, running: Proxy) -> None:
        self.running, self.public = running, int(running.url.rpartition(":")[2])
        until = time.monotonic() + 30
        while not (told := re.search(r"/admin is at port (\d+)", "".join(running.output))):
            assert time.monotonic() < until
        self.admin = int(told[1])
        asked = {"name": "ann", "models": ["echo"], "fields": []}
        made = httpx.post(f"http://127.0.0.1:{self.admin}/admin/keys", json=asked, headers=bearer(MASTER))
        self.key = made.raise_for_status().json()["key"]

    def send(self, content: bytes, port: int | None = None) -> bytes:
        """What comes back until the other end closes."""
        with socket.create_connection(("127.0.0.1", port or self.public), timeout=30) as connection:
            connection.sendall(content)
            return ended(connection)

    def ask(self, line: str, *headers: str, body: bytes = b"", port: int | None = None) -> list[int]:
        """The status of each answer to one request, whose connection is to be closed."""
        head = [f"{line} HTTP/1.1", "host: x", "connection: close", *headers]
        return statuses(self.send("\r\n".join([*head, "", ""]).encode("latin-1") + body, port))


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def statuses(received: bytes) -> list[int]:
    return [int(each[:3]) for each in received.split(b"HTTP/1.1 ")[1:]]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("attacks")
    (folder / "litellm_config.yaml").write_text(CONFIG)
    (folder / "policies").mkdir()
    (folder / "policies" / "access.yaml").write_text("master_key: os.environ/SCRIBE_MASTER_KEY")
    with serving(folder, "--admin-port", "0", environment={"SCRIBE_MASTER_KEY": MASTER}) as running:
        yield Door(running)


PATHS = """
/v1/models //v1/models /v1//models /v1/models/ /V1/MODELS /v1/models%00 /v1/models;a=b /%76%31/models /v1/./models
/health/live/../../v1/models /health/live/../v1/models /health/live%2f..%2f..%2fv1/models /health/live;/v1/models
/health/live%00 /health/live%20 /health/live/ //health/live /health//live /Health/Live /health/live%2f /health/live.
/health/live%23 /health/live%3fa /health%2flive%2f /.%2fhealth/live /v1/../health/live /health/live/%2e%2e
/admin/keys //admin/keys /admin//keys /ADMIN/keys /v1/../admin/keys /v1/admin/keys /health/ready/admin/keys
/openapi.json /docs /redoc /metrics /favicon.ico /robots.txt /.env /.git/config * http://x/v1/models
http://x/health/live/../v1/models
""".split()


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "get", "X"])
def test_no_way_of_writing_a_path_or_a_method_needs_no_key(door: Door, method: str) -> None:
    for path in PATHS:
        for port in (door.public, door.admin):
            assert door.ask(f"{method} {path}", port=port) in ([401], [400]), path


ELSEWHERE = (
    "x-goog-api-key: KEY", "api-key: KEY", "apikey: KEY", "x-auth-token: KEY", "x-access-token: KEY", "token: KEY",
    "proxy-authorization: Bearer KEY", "x-authorization: Bearer KEY", "cookie: authorization=Bearer KEY; key=KEY",
    "x-forwarded-authorization: Bearer KEY", "x-original-authorization: Bearer KEY", "authorization: KEY",
    "authorization: Basic B64", "authorization: Token KEY", "authorization: Bearer", "authorization: BearerKEY",
    "authorization: Bearer\tKEY", "authorization: Bearer KEYx", "authorization: Bearer KEY KEY",
    "x-api-key: Bearer KEY",
    "authorization: Bearer  ", "x-api-key: ", "x-api-key: \xff\xfe", "authorization: Bearer \xe9",
    "x-scribe-principal: master",
    "x-forwarded-for: 127.0.0.1", "x-real-ip: 127.0.0.1", "x-original-url: /health/live", "x-rewrite-url: /health/live",
    "x-http-method-override: GET", "x-forwarded-prefix: /health/live", "x-scribe-signature: v1:ann:" + "0" * 64,
)  # fmt: skip


@pytest.mark.parametrize("header", ELSEWHERE)
def test_a_key_counts_in_its_place_only(door: Door, header: str) -> None:
    basic = base64.b64encode(f"x:{MASTER}".encode()).decode()
    assert door.ask("GET /v1/models", header.replace("KEY", MASTER).replace("B64", basic)) == [401]


@pytest.mark.parametrize("query", ["key=KEY", "api_key=KEY", "access_token=KEY", "authorization=Bearer%20KEY"])
def test_a_key_in_the_query_counts_nowhere_and_is_written_nowhere(door: Door, query: str) -> None:
    assert door.ask(f"GET /v1/models?{query.replace('KEY', MASTER)}") == [401]
    assert not [each for each in door.running.output if MASTER in each]


def test_of_two_keys_the_first_counts_wherever_it_is_asked(door: Door) -> None:
    ann = f"authorization: Bearer {door.key}"
    for first, second, status in ((ann, RIGHT, 403), (RIGHT, ann, 200), ("authorization: Bearer x", RIGHT, 401)):
        assert door.ask("GET /admin/keys", first, second, port=door.admin) == [status]
        assert door.ask("GET /admin/keys", first, f"x-{second}", port=door.admin) == [status]
    assert door.ask("GET /admin/keys", f"x-api-key: {MASTER}", "authorization: Bearer x", port=door.admin) == [401]


ADMIN = ("GET /admin/keys", "GET /admin/spend", "GET /admin/deployments", "GET /admin/limits", "GET /admin/exchanges/a")
PUBLIC = (
    "GET /v1/models",
    "GET /models",
    "GET /v1/models/echo",
    "GET /openapi.json",
    "GET /health/live",
    "GET /health/ready",
)


def test_each_port_has_its_own_routes(door: Door) -> None:
    """Whatever `Host`, and whatever the request says of ports."""
    for host in (
        "x-a: b",
        f"host: 127.0.0.1:{door.admin}",
        f"x-forwarded-port: {door.admin}",
        "x-forwarded-host: admin",
    ):
        extra = host if not host.startswith("host") else "x-a: b"
        head = f"{host}\r\n" if host.startswith("host") else "host: x\r\n"
        for route in ADMIN:
            sent = f"{route} HTTP/1.1\r\n{head}{extra}\r\n{RIGHT}\r\nconnection: close\r\n\r\n".encode()
            assert statuses(door.send(sent)) == [404], route
            assert statuses(door.send(sent, door.admin)) in ([200], [404]), route
        assert door.ask(f"GET http://127.0.0.1:{door.admin}/admin/keys", RIGHT) == [404]
    for route in PUBLIC:
        assert door.ask(route, RIGHT, port=door.admin) == [404], route
    for route in ADMIN:
        assert door.ask(route, f"authorization: Bearer {door.key}", port=door.admin) == [403], route


def test_nobody_is_sent_elsewhere(door: Door) -> None:
    """A path with a slash too many is none; the name in `Host` is whatever a client wrote."""
    for path in ("/v1/chat/completions/", "/v1/embeddings/", "//evil.example/", "/v1//evil.example/"):
        for method in ("GET", "POST"):
            (status,) = door.ask(f"{method} {path}", RIGHT, "content-type: application/json", "content-length: 0")
            assert status in (404, 405), path
    assert door.ask("GET /admin/keys/", RIGHT, port=door.admin) in ([404], [405])


UPGRADES = ("websocket", "h2c", "TLS/1.0", "x")


@pytest.mark.parametrize("protocol", UPGRADES)
def test_nothing_is_upgraded_and_nothing_is_logged_for_it(door: Door, protocol: str) -> None:
    asked = (
        "connection: upgrade, http2-settings", f"upgrade: {protocol}", "http2-settings: AAMAAABkAAQAAP__",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version: 13",
    )  # fmt: skip
    before = len(door.running.output)
    for path in ("/v1/models", "/v1/chat/completions", "/admin/keys"):
        assert door.ask(f"GET {path}", *asked) == [401]
    assert door.ask("GET /v1/models", *asked, RIGHT) == [200]
    assert door.running.output[before:] == []


REQUEST = f"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\n{RIGHT}\r\ncontent-type: application/json\r\n"
HIDDEN = f"GET /v1/models HTTP/1.1\r\nhost: x\r\n{RIGHT}\r\nconnection: close\r\n\r\n"
SMUGGLED = {
    "both lengths": f"content-length: {len(HIDDEN) + 5}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "both lengths, the other way": f"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n{HIDDEN}",
    "two lengths": f"content-length: 0\r\ncontent-length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
    "a list of lengths": f"content-length: 0, {len(HIDDEN)}\r\n\r\n{HIDDEN}",
    "a length with a sign": f"content-length: +0\r\n\r\n{HIDDEN}",
    "a length that is none": f"content-length: 0x0\r\n\r\n{HIDDEN}",
    "a negative length": f"content-length: -1\r\n\r\n{HIDDEN}",
    "another coding": f"transfer-encoding: xchunked\r\n\r\n{HIDDEN}",
    "two codings": f"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{HIDDEN}",
    "two headers of codings": f"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "a blank before the colon": f"transfer-encoding : chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "a vertical tab": f"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "a lone carriage return": f"x: a\rtransfer-encoding: chunked\r\n\r\n{HIDDEN}",
    "a zero": f"x: a\x00b\r\n\r\n{HIDDEN}",
    "a chunk of no size": f"transfer-encoding: chunked\r\n\r\n\r\n{HIDDEN}",
    "a chunk of a strange size": f"transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n{HIDDEN}",
    "a chunk that is too large": f"transfer-encoding: chunked\r\n\r\n{'f' * 30}\r\n{HIDDEN}",
    "a chunk that does not end": f"transfer-encoding: chunked\r\n\r\n2\r\n{{}}X\r\n0\r\n\r\n{HIDDEN}",
    "two hosts": f"host: y\r\ncontent-length: 0\r\n\r\n{HIDDEN}",
}


@pytest.mark.parametrize("form", SMUGGLED)
def test_no_second_request_is_hidden_in_a_first(door: Door, form: str) -> None:
    """What two readers could cut in two ways is refused, and the connection ends with it."""
    for path in ("/v1/embeddings", "/health/live", "/nothing"):
        answer = door.send((REQUEST.replace("/v1/embeddings", path) + SMUGGLED[form]).encode("latin-1"))
        assert 200 not in statuses(answer), answer
        assert len(statuses(answer)) <= 1
        assert b'"data"' not in answer


BAD_CHUNKS = ("0x0\r\n\r\n", "\r\n\r\n", "2\r\nabc\r\n0\r\n\r\n", "zz\r\n", "-1\r\n")


@pytest.mark.parametrize("path", ["/v1/models", "/health/live", "/nothing"])
@pytest.mark.parametrize("chunk", BAD_CHUNKS)
def test_a_body_that_is_none_is_one_answer_and_no_fault(door: Door, path: str, chunk: str) -> None:
    """With its head, and after the answer, which does not wait for it."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    before = len(door.running.output)
    assert len(statuses(door.send((head + chunk).encode()))) == 1
    with socket.create_connection(("127.0.0.1", door.public), timeout=30) as connection:
        connection.sendall(head.encode())
        answer = b""
        while not answer.endswith(b"}}"):
            answer += connection.recv(65536)
        assert statuses(answer)[0] in (401, 405)
        connection.sendall(chunk.encode())
        with suppress(ConnectionResetError):
            assert connection.recv(65536) == b""
    assert door.ask("GET /health/live") == [200]
    told = "".join(door.running.output[before:])
    assert "Traceback" not in told, told
    assert "fault" not in told.lower(), told


def test_each_request_of_a_connection_brings_its_own_key(door: Door) -> None:
    one = f"GET /v1/models HTTP/1.1\r\nhost: x\r\n{RIGHT}\r\n\r\n"
    last = "GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    assert statuses(door.send(f"{one}{one}{last}".encode())) == [200, 200, 401]
    ann = one.replace(MASTER, door.key)
    secret = last.replace("/v1/models", "/admin/keys")
    assert statuses(door.send(f"{one.replace('/v1/models', '/admin/keys')}{ann}{secret}".encode(), door.admin)) == [
        200,
        404,
        401,
    ]


NONSENSE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00" * 1000,
    b"GET / HTTP/9.9\r\n\r\n", b"GET /v1/models\r\n\r\n", b"GET  /v1/models HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\n\r\n", "GET /v1/modéls HTTP/1.1\r\nhost: x\r\n\r\n".encode(), b"\r\n" * 5000,
    b"GET /v1/models HTTP/1.1\r\nhost: x\r\n: a\r\n\r\n", b"CONNECT evil.example:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /%ff%fe%00 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n",
)  # fmt: skip


@pytest.mark.parametrize("content", NONSENSE)
def test_nonsense_is_no_fault(door: Door, content: bytes) -> None:
    for port in (door.public, door.admin):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            found = b""
            with suppress(ConnectionResetError):
                while part := connection.recv(65536):
                    found += part
        assert set(statuses(found)) <= {400, 401, 404, 501}, found
    assert "Traceback" not in "".join(door.running.output)


def test_a_body_is_read_once_and_its_last_word_counts_everywhere(door: Door) -> None:
    """Twice the same name: what is checked is what is sent."""
    body = b'{"model": "nothing", "model": "echo", "user": "a", "messages": [{"role": "user", "content": "a"}]}'
    head = {**bearer(door.key), "content-type": "application/json"}
    answer = httpx.post(f"{door.running.url}/v1/chat/completions", content=body, headers=head, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "field_not_allowed")
    for encoding in ("utf-16", "utf-32"):
        sent = json.dumps({"model": "other", "messages": []}).encode(encoding)
        answer = httpx.post(f"{door.running.url}/v1/chat/completions", content=sent, headers=head, timeout=30)
        assert answer.status_code in (400, 403), encoding


def test_it_still_serves(door: Door) -> None:
    assert door.running.process.poll() is None
    assert door.ask("GET /v1/models", RIGHT) == [200]
