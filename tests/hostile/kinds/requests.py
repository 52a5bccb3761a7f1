"""Requests as bytes: each case on a connection of its own, and an honest request behind it.

What is held against them: the origin reads every connection strictly and finds only requests that the gateway
knows by id; each answer is the one to its own request; and what went on is what a strict reading of the
client's bytes finds there, in order, or it was refused.
"""

import asyncio
import collections
import contextlib
import re

import gateway
import origin
import tables
from person import Person
from result import Result
from wire import Answers, Broken, requests_in

AT_ONCE = 64
# A gateway that has begun to answer, or waits for more bytes, says nothing more then.
QUIET_SECS = 0.5
# How long an answer is waited for before what follows is sent.
PAUSE_SECS = 0.1
LONGEST_SECS = 10
# In the log of the gateway, and of nginx, where it is the origin's status.
SENT_ON = ("forward", "1", "2", "3", "4", "5")
LOOSE = "went on, though it is no request"
PLAIN = re.compile(rb"/[a-z0-9]+(/[a-z0-9]+)*(\?[a-z0-9=&]*)?")
TOKEN = re.compile(rb"[tf][0-9a-f]{6}z")


async def run(table, scene):
    return await run_cases(list(tables.cases(table, scene.smoke)), table.data.get("ways", ["half-closed", "open"]), scene)


async def run_cases(cases, ways, scene):
    result = Result(cases=len(cases) * len(ways))
    with gateway.thornwall(scene.stage) as server, Person(scene.stage) as person:
        tally = await against(server, cases, ways)
        result.server(server)
    for fault in tally.faults:
        result.fault(fault)
    result.require(tally.seen["forwarded"], "nothing was forwarded, so that nothing was looked at")
    result.note(tally)
    result.person(person)
    if scene.beside:
        with gateway.nginx(scene.stage) as server:
            beside = await against(server, cases, ["open"])
        loose = sum(LOOSE in fault for fault in beside.faults)
        result.beside = f"of {len(cases)}, {loose} taken that a strict reader refuses, {len(beside.faults) - loose} else"
    return result


class Tally:
    """What was seen in one run against one gateway."""

    def __init__(self):
        self.seen = collections.Counter()
        self.faults = []

    def fault(self, case, what):
        """A rule may say that its fault is `known`, and why it stands."""
        if "known" in case.rule:
            self.seen[f"known ({case.rule['known']})"] += 1
        else:
            self.faults.append(f"{case.name}: {what}: {case.sent[:300]!r}")

    def __str__(self):
        return ", ".join(f"{many} {word}" for word, many in sorted(self.seen.items()))


async def against(server, cases, ways):
    tally = Tally()
    async with origin.Origin(gateway.ORIGIN) as behind:
        waiting = iter([(case, way) for way in ways for case in cases])

        async def lane():
            for case, way in waiting:
                try:
                    async with asyncio.timeout(2 * LONGEST_SECS):
                        judge(tally, case, *await send(case, way))
                except TimeoutError:
                    tally.fault(case, f"{way}, neither an answer nor an end in {2 * LONGEST_SECS} s")
                except OSError as refused:
                    tally.fault(case, f"{way}: {refused}")

        await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
        await asyncio.sleep(0.5)
    tally.faults += behind.faults + ["at the origin: another fault"] * (behind.broken - len(behind.faults))
    tally.seen["at the origin"] = behind.taken
    reconcile(tally, behind, server)
    return tally


def follow_up(case, way):
    """Honest requests behind a case. Whoever has closed its side is taken to have left before the last answer, by
    nginx as well, so that there are two of them then."""
    last = f"GET /f{case.token[1:]} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n".encode()
    return last if way == "open" else last.replace(b"Connection: close", b"X-Way: closed") + last


async def send(case, way):
    """All that was sent, and all that came back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.PORT)
    got = bytearray()
    behind = follow_up(case, way)
    try:
        with contextlib.suppress(OSError):
            for number, piece in enumerate(case.pieces):
                if number:
                    # The gateway is to read the first alone.
                    await asyncio.sleep(0.02)
                writer.write(piece)
            if way == "open":
                await more(reader, got, PAUSE_SECS)
            writer.write(behind)
            if way == "half-closed":
                writer.write_eof()
            asked, broken = requests_in(case.sent + behind)
            # Whoever waits for more bytes says nothing: only there silence is an answer.
            due = way == "half-closed" or "served" in case.rule or asked or broken
            while await more(reader, got, LONGEST_SECS if due else QUIET_SECS):
                due = way == "half-closed" or "served" in case.rule
    finally:
        writer.transport.abort()
    return case.sent + behind, bytes(got)


async def more(reader, got, secs):
    """Whether something came, in so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(secs):
            data = await reader.read(65536)
            got += data
            return bool(data)
    return False


async def exchanged(asked, secs, port=gateway.PORT, source="127.0.0.1"):
    """What comes back for this on a connection of its own, until nothing more has come for so many seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    got = bytearray()
    try:
        with contextlib.suppress(OSError):
            writer.write(asked)
            while await more(reader, got, secs):
                pass
    finally:
        writer.transport.abort()
    return bytes(got)


def answers_in(tally, case, methods, got):
    """The answers to requests with these methods, one that only the end of the connection ends included."""
    answers, found = Answers(methods), []
    try:
        found += (one for one in answers.feed(got) if one.status >= 200)
    except Broken as broken:
        tally.fault(case, f"no answer: {broken}: {got[:300]!r}")
    if answers.unbounded:
        found.append(answers.unbounded)
    return found


def judge(tally, case, sent, got):
    """Holds the answers on one connection against what was asked on it."""
    asked, broken = requests_in(sent)
    # A refusal of what is no whole request answers its method, as far as there is one.
    found = answers_in(tally, case, [one.method for one in asked] or [case.sent.partition(b" ")[0]], got)
    if not found:
        tally.seen["refused without a word" if broken else "unanswered"] += 1
    served = sum(bool(answer.all(b"x-echo-id")) for answer in found)
    if not case.rule.get("served", 0) <= served:
        tally.fault(case, f"{served} of {case.rule['served']} were served: {got[:300]!r}")
    for number, answer in enumerate(found):
        if not answer.all(b"x-echo-id"):
            tally.seen["refused"] += 1
            continue
        tally.seen["forwarded"] += 1
        if wrong := difference(answer, asked[number] if number < len(asked) else None):
            tally.fault(case, wrong)


def difference(answer, request):
    """What an answer of the origin has that its request has not."""
    if answer.one(b"x-request-id") != answer.one(b"x-echo-id"):
        return f"the answer to another request: {answer.fields}"
    if request is None:
        return f"{LOOSE}: {answer.body!r} {answer.one(b'x-echo-body')}"
    if answer.one(b"x-echo-method") != request.method:
        return f"went on as {answer.one(b'x-echo-method')}"
    if answer.one(b"x-echo-body") != origin.mark(request.body):
        return f"went on with the body {answer.one(b'x-echo-body')}, {request.body[:80]!r} was sent"
    # What is written in one way alone must arrive so.
    if request.method != b"HEAD" and PLAIN.fullmatch(request.target) and answer.body != request.target:
        return f"went on for {answer.body!r}"
    # Dot segments take names away.
    if request.method != b"HEAD" and b".." not in request.target and TOKEN.findall(answer.body) != TOKEN.findall(request.target):
        return f"went on for {answer.body!r}"
    return ""


def reconcile(tally, behind, server):
    """Every request that the origin has seen is one that the gateway has written down as sent on."""
    told = {line["id"].encode(): line for line in server.log()}
    for name, (method, target) in behind.requests.items():
        line = told.get(name)
        if line is None:
            tally.faults.append(f"at the origin alone: {method!r} {target!r}")
        elif not line["ruling"].startswith(SENT_ON) or line["method"].encode() != method[: len(line["method"])]:
            tally.faults.append(f"at the origin {method!r} {target!r}, in the log {line}")
