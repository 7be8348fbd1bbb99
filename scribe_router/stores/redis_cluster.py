"""The way to the servers of a Redis Cluster: each command to the master of its key's slot, all of them at once.

It follows moved slots and failed-over masters. It must never know what a script does.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, ResponseError

from scribe_router.stores.redis_calls import Call
from scribe_router.stores.redis_link import Fault, Marks, Node, NotSent, Waiting, fate, parsed

SLOTS = 16384
HOPS = 4
SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}

Address = tuple[str, int]


class Cluster:
    """The link to a cluster; any of its servers that the URL names is enough to find the others."""

    def __init__(self, url: str, *, waiting: Waiting, accepted_loss: bool, writes: bool) -> None:
        parts = urlsplit(url)
        login, _, places = parts.netloc.rpartition("@")
        login = f"{login}@" if login else ""
        urls = [f"{SCHEMES[parts.scheme]}://{login}{place}?{parts.query}" for place in places.split(",")]
        self._options = [parsed(each) for each in urls]
        self._seeds = [(each.get("host", "localhost"), each.get("port", 6379)) for each in self._options]
        marks = Marks() if writes else None
        self._build = partial(Node, waiting=waiting, accepted_loss=accepted_loss, marks=marks)
        self._nodes: dict[Address, Node] = {}
        self._ranges: list[tuple[int, int, Address]] = []

    def open(self) -> None:
        """Learn who has which slots, if that is not known. Raises `NotSent`."""
        if not self._ranges:
            self._learn()

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """An answer for each call, or a `Fault`. A slot that moved is followed; nothing is sent twice that may run."""
        answers: list[Any] = [NotSent("nobody has its slot")] * len(calls)
        left = list(range(len(calls)))
        for _ in range(HOPS):
            moved = self._hop(calls, left, answers)
            if not moved:
                break
            left = moved
        if any(isinstance(answer, Fault) for answer in answers):
            self._ranges = []
        return answers

    def close(self) -> None:
        for node in self._nodes.values():
            node.close()

    def _hop(self, calls: Sequence[Call], left: list[int], answers: list[Any]) -> list[int]:
        """Run what is left where it belongs; what belongs elsewhere by now."""
        try:
            self.open()
        except NotSent as problem:
            for index in left:
                answers[index] = problem
            return []
        groups: dict[Address, list[int]] = {}
        for index in left:
            groups.setdefault(self._address(calls[index].key), []).append(index)
        sent = [(address, group) for address, group in groups.items() if self._send(address, group, calls, answers)]
        return [index for address, group in sent for index in self._receive(address, group, calls, answers)]

    def _send(self, address: Address, group: list[int], calls: Sequence[Call], answers: list[Any]) -> bool:
        try:
            self._node(address).send([calls[index] for index in group])
        except Fault as problem:
            for index in group:
                answers[index] = problem
            return False
        return True

    def _receive(self, address: Address, group: list[int], calls: Sequence[Call], answers: list[Any]) -> list[int]:
        try:
            found = self._node(address).receive(len(group))
        except Fault as problem:
            found = [problem] * len(group)
        moved = []
        for index, answer in zip(group, found, strict=True):
            if isinstance(answer, MovedError):
                self._ranges = []
                moved.append(index)
            elif isinstance(answer, AskError):
                answers[index] = self._asking((answer.host, answer.port), calls[index])
            else:
                answers[index] = fate(answer)
        return moved

    def _asking(self, address: Address, call: Call) -> Any:
        """A key of a slot that is on its way to another server, and is there already."""
        try:
            return fate(self._node(address).run([Call(call.key, ("ASKING",)), call])[1])
        except Fault as problem:
            return problem

    def _node(self, address: Address) -> Node:
        if address not in self._nodes:
            self._nodes[address] = self._build({**self._options[0], "host": address[0], "port": address[1]})
        return self._nodes[address]

    def _address(self, key: str) -> Address:
        slot = key_slot(key.encode("utf-8", "surrogatepass"))
        return next((address for first, last, address in self._ranges if first <= slot <= last), self._seeds[0])

    def _learn(self) -> None:
        problem: Fault = NotSent("no server of the cluster answers")
        for address in dict.fromkeys([*self._nodes, *self._seeds]):
            try:
                found = self._node(address).ask("CLUSTER", "SLOTS")
            except Fault as fault:
                problem = fault
                continue
            if isinstance(found, ResponseError):
                raise NotSent(f"{found}; name one server redis://", lasting=True)
            self._ranges = [(first, last, (place[0] or address[0], place[1])) for first, last, place, *_ in found]
            if sum(last - first + 1 for first, last, _ in self._ranges) == SLOTS:
                return
            problem = NotSent("some slots of the cluster have no server")
        self._ranges = []
        raise problem if isinstance(problem, NotSent) else NotSent(str(problem)) from problem


def spread(count: int) -> list[str]:
    """Tags whose slots are spread evenly, so that each server of a fresh cluster gets its share of the shards."""
    tags: dict[int, str] = {}
    number = 0
    while len(tags) < count:
        tags.setdefault(key_slot(str(number).encode()) * count // SLOTS, str(number))
        number += 1
    return [tags[index] for index in range(count)]
