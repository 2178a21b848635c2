"""DNS transactions, and which names addresses had for whom.

Rules:
    1. A question and its answer (same flow, id, name and type) are one record; a question without an
       answer within 10 s is a record without a response code. A repeated question is one transaction.
    2. Multicast DNS and LLMNR: each question, and each answer, is a record of its own, for answers come
       unasked.
    3. A flow gets a DNS name only from an answer given earlier to the same client for that address.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from applog.capture.decode import dns
from applog.capture.kernel import columns as c
from applog.capture.sighting import Sighting
from applog.capture.streams import Beginning
from applog.records import Dns

ANSWER_WITHIN_US = 10_000_000
MAX_PENDING = 65_536
MAX_CLIENT_ADDRESSES = 262_144
_ANSWERS_KEPT = 4
_PROTOCOLS = {c.P_DNS: "dns", c.P_MDNS: "mdns", c.P_LLMNR: "llmnr"}

_Key = tuple[int, int, str | None, int]


@dataclass(slots=True)
class ResolverCounts:
    """What was given up, to be said."""

    undecodable: int = 0
    """Messages that are not DNS although port and header looked like it."""
    given_up: int = 0
    """Questions written without waiting for the answer, because too many were open."""


class Resolver:
    """Pairs questions with answers."""

    def __init__(self) -> None:
        self.counts = ResolverCounts()
        self._pending: OrderedDict[_Key, tuple[Sighting, dns.Message]] = OrderedDict()
        self._streams: dict[tuple[int, int], Beginning] = {}
        self._named: OrderedDict[tuple[bytes, bytes], list[tuple[int, str]]] = OrderedDict()
        self._grown: set[tuple[bytes, bytes]] = set()

    def look(self, seen: Sighting) -> Iterator[Dns]:
        """Records that *seen* completes."""
        yield from self._overdue(seen.time)
        for message in self._messages(seen):
            if seen.kind != c.P_DNS:
                yield _record(seen, message, seen, message if message.response else None)
                for name, kind in () if message.response else dns.further_questions(seen.data):
                    yield _record(seen, message._replace(question_name=name, question_type=kind), None, None)
            elif message.response:
                yield self._answered(seen, message)
            else:
                yield from self._asked(seen, message)

    def finish(self) -> Iterator[Dns]:
        """Questions that stayed without an answer."""
        while self._pending:
            _, (seen, question) = self._pending.popitem(last=False)
            yield _record(seen, question, None, None)

    def name_of(self, client: bytes, address: bytes, before_packet: int, at_packet: int) -> str | None:
        """The name *client* had resolved to *address* last before packet number *before_packet*.

        Of the answers up to *at_packet*, when the record was made, the last few are remembered.
        """
        known = [one for one in self._named.get((client, address), ()) if one[0] < at_packet]
        answers = known[-_ANSWERS_KEPT:]
        return next((name for packet, name in reversed(answers) if packet < before_packet), None)

    def settle(self) -> None:
        """All records up to the last answer are made: keep only the last few answers."""
        for key in self._grown & self._named.keys():
            del self._named[key][:-_ANSWERS_KEPT]
        self._grown.clear()

    def forget(self, ordinal: int) -> None:
        """The flow has ended: its streams are over."""
        self._streams.pop((ordinal, 0), None)
        self._streams.pop((ordinal, 1), None)

    def _messages(self, seen: Sighting) -> list[dns.Message]:
        if seen.row[c.META] & 0xFF != 6:
            message = dns.message(seen.data)
            self.counts.undecodable += message is None
            return [] if message is None else [message]
        stream = self._streams.setdefault((seen.ordinal, seen.side), Beginning())
        stream.add(seen.position, seen.data)
        found, consumed = dns.messages(stream.whole[stream.consumed :])
        stream.consumed += consumed
        return found

    def _asked(self, seen: Sighting, question: dns.Message) -> Iterator[Dns]:
        key = (seen.ordinal, question.id, question.question_name, question.question_type)
        if key in self._pending:
            return
        if len(self._pending) >= MAX_PENDING:
            self.counts.given_up += 1
            _, (oldest, message) = self._pending.popitem(last=False)
            yield _record(oldest, message, None, None)
        self._pending[key] = (seen, question)

    def _answered(self, seen: Sighting, answer: dns.Message) -> Dns:
        key = (seen.ordinal, answer.id, answer.question_name, answer.question_type)
        self._remember(seen, answer)
        asked = self._pending.pop(key, None)
        if asked is None:
            return _record(seen, answer, seen, answer)
        return _record(asked[0], asked[1], seen, answer)

    def _remember(self, seen: Sighting, answer: dns.Message) -> None:
        if answer.question_name is None:
            return
        client = seen.receiver().ip
        for address in answer.addresses:
            answers = self._named.setdefault((client, address), [])
            answers.append((seen.packet, answer.question_name))
            self._grown.add((client, address))
            self._named.move_to_end((client, address))
        while len(self._named) > MAX_CLIENT_ADDRESSES:
            self._named.popitem(last=False)

    def _overdue(self, now: int) -> Iterator[Dns]:
        while self._pending:
            seen, question = next(iter(self._pending.values()))
            if now - seen.time < ANSWER_WITHIN_US:
                return
            self._pending.popitem(last=False)
            yield _record(seen, question, None, None)


def _record(
    asked: Sighting, question: dns.Message, answered: Sighting | None, answer: dns.Message | None
) -> Dns:
    """A transaction; *asked* is the answer's packet itself when no question was seen."""
    unasked = question.response and asked.kind == c.P_DNS
    asker = asked.receiver() if unasked else asked.sender()
    server = asked.sender() if unasked else asked.receiver()
    return Dns(
        timestamp=asked.time,
        end=answered.time if answer is not None and answered is not None else None,
        flow_id=str(asked.ordinal),
        source_ip=asker.ip,
        source_port=asker.port,
        source_mac=asker.mac,
        destination_ip=server.ip,
        destination_port=server.port,
        transport="tcp" if asked.row[c.META] & 0xFF == 6 else "udp",
        protocol=_PROTOCOLS[asked.kind],
        vlan_id=asked.vlan,
        dns_id=question.id,
        question_name=question.question_name or None,
        question_type=dns.type_name(question.question_type) if question.question_name else None,
        response_code=dns.rcode_name(answer.rcode) if answer is not None else None,
        resolved_ip=(answer.addresses or None) if answer is not None else None,
    )
