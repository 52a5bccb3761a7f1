"""WebSockets misused: requests behind handshakes that the origin refuses, and 101s that nobody asked for.

Only a handshake that the origin has agreed to becomes a tunnel (`tunnel = true`): then what is sent comes back
as it was. In any other case nothing is passed on that the gateway has not read as a request.
"""

import asyncio
import contextlib
import secrets

import gateway
import origin
import tables
from kinds.requests import Tally, answers_in, difference, more, reconcile, requests_in
from person import Person
from result import Result

AT_ONCE = 32
LONGEST_SECS = 10
QUIET_SECS = 0.4
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n"
AGREED = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
# By the first part of the path: what the origin answers, whatever it was asked.
ANSWERS = {
    b"always": SWITCHED + AGREED,
    b"bare": SWITCHED + b"\r\n",
    b"h2c": SWITCHED + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    b"half": SWITCHED + b"Upgrade: websocket\r\n\r\n",
    b"length": SWITCHED + b"Content-Length: 5\r\n" + AGREED,
    b"early": SWITCHED + AGREED + b"early",
    b"426": b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 2\r\n\r\nno",
    b"400": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno",
    b"200": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
    b"upgraded": b"HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno",
}


class Sockets(origin.Connection):
    switched = False

    def data_received(self, data):
        if self.switched:
            self.origin.tunnelled += data
            self.transport.write(data)
        else:
            super().data_received(data)

    def take(self, request):
        word = request.target.split(b"/")[1]
        agrees = word == b"agree" and request.all(b"upgrade") and request.one(b"sec-websocket-version") == b"13"
        answer = SWITCHED + AGREED if agrees else ANSWERS.get(word)
        if answer is None:
            return super().take(request)
        self.origin.note(request, self)
        self.transport.write(answer)
        self.switched = answer.startswith(SWITCHED)
        if self.switched and self.reader.held:
            self.origin.tunnelled += self.reader.held
            self.reader.held.clear()


async def run(table, scene):
    cases = list(tables.cases(table, scene.smoke))
    result, tally = Result(cases=2 * len(cases)), Tally()
    with gateway.thornwall(scene.stage) as server, Person(scene.stage) as person:
        async with origin.Origin(gateway.ORIGIN, Sockets, retries=True) as behind:
            behind.tunnelled = bytearray()
            waiting = iter([(case, at_once) for at_once in (True, False) for case in cases])

            async def lane():
                for case, at_once in waiting:
                    try:
                        await one(tally, behind, case, at_once)
                    except OSError as refused:
                        tally.fault(case, str(refused))

            await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
            many = table.data["tunnels"] // (10 if scene.smoke else 1)
            echoed = sum(await asyncio.gather(*(echoes() for _ in range(many))))
            result.require(echoed == many, f"{echoed} of {many} tunnels echoed")
        result.server(server)
        await asyncio.sleep(0.3)
        reconcile(tally, behind, server)
    for fault in tally.faults + behind.faults:
        result.fault(fault)
    result.note(tally)
    result.note(f"{echoed} of {many} tunnels echoed")
    result.person(person)
    return result


async def one(tally, behind, case, at_once):
    """A handshake, and a request of the attacker's own making behind it."""
    word = secrets.token_hex(8).encode()
    hidden = b"GET /hidden/%s HTTP/1.1\r\nHost: site.test\r\nX-Request-ID: 1\r\nX-Real-IP: 6.6.6.6\r\n\r\n" % word
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.PORT)
    got = bytearray()
    try:
        with contextlib.suppress(OSError):
            writer.write(case.sent + (hidden if at_once else b""))
            await more(reader, got, LONGEST_SECS if case.rule.get("tunnel") else QUIET_SECS)
            while await more(reader, got, QUIET_SECS):
                pass
            if not at_once:
                writer.write(hidden)
            while await more(reader, got, QUIET_SECS):
                pass
    finally:
        writer.transport.abort()
    # A request that the gateway has read has another X-Real-IP: one that comes on as it is was not read.
    unread = [bytes(one.raw) for one in behind.open if b"6.6.6.6" in one.raw]
    came_through = any(word in part for part in (bytes(behind.tunnelled), *unread))
    if case.rule.get("tunnel"):
        tally.seen["tunnels"] += 1
        # What is sent before the origin has agreed is nobody's (RFC 6455 section 4.1).
        if not got.startswith(b"HTTP/1.1 101 ") or (not at_once and not got.endswith(hidden)):
            tally.fault(case, f"no tunnel: {bytes(got)[:200]!r}")
        return
    if b" 101 " in got[:20] or came_through:
        tally.fault(case, f"tunnelled, though nobody has agreed: {bytes(got)[:200]!r}")
        return
    judge(tally, case, case.sent + hidden, bytes(got))


def judge(tally, case, asked, got):
    requests, _ = requests_in(asked)
    found = answers_in(tally, case, [one.method for one in requests], got)
    tally.seen["refused" if not found or found[0].status >= 400 else "answered"] += 1
    for number, answer in enumerate(found):
        if answer.all(b"x-echo-id") and (
                wrong := difference(answer, requests[number] if number < len(requests) else None)):
            tally.fault(case, wrong)


async def echoes():
    """Whether an honest WebSocket brings back what it was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.PORT)
    try:
        writer.write(
            b"GET /agree HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            sent = secrets.token_bytes(5000)
            writer.write(sent)
            return head.startswith(b"HTTP/1.1 101 ") and await reader.readexactly(len(sent)) == sent
    except (OSError, EOFError):
        return False
    finally:
        writer.transport.abort()
