"""Answers of a hostile origin: no byte of one reaches another request, and what clients get can be read in one
way alone.

A case's `send` is what the origin sends for it. `method` asks for it; `close` ends the origin's connection
behind it; `cut` sends a part of it and ends; `more` follows after `pause_ms`; `absent` names fields that
concern the origin's connection alone (RFC 9110 section 7.6.1).
"""

import asyncio

import gateway
import origin
import tables
from kinds.requests import Tally, answers_in, difference, exchanged, requests_in
from person import Person
from result import Result

AT_ONCE = 96
# Longer than the gateway waits for this origin.
LONGEST_SECS = 6
HASTY = gateway.RAW.replace('upstream]]\nname = "raw"', 'upstream]]\nread_timeout_secs = 2\nname = "raw"')


class Hostile(origin.Connection):
    def take(self, request):
        number = request.target.partition(b"/h/")[2]
        if not number.isdigit():
            return super().take(request)
        case = self.origin.cases[int(number)]
        self.transport.write(case.pieces[0])
        if "more" in case.rule:
            later = case.rule["more"].replace("{token}", case.token).encode("latin-1")
            asyncio.get_running_loop().call_later(case.rule.get("pause_ms", 0) / 1000, self.transport.write, later)
        if case.rule.get("close") or len(case.pieces) > 1:
            self.transport.close()


async def run(table, scene):
    cases = list(tables.cases(table, scene.smoke))
    result = Result(cases=len(cases))
    with gateway.thornwall(scene.stage, HASTY) as server, Person(scene.stage) as person:
        tally = await against(cases)
        result.server(server)
    for fault in tally.faults:
        result.fault(fault)
    result.note(tally)
    result.person(person)
    if scene.beside:
        with gateway.nginx(scene.stage, gateway.PROXY.replace("listen", "proxy_read_timeout 1s; listen")):
            beside = await against(cases)
        result.beside = f"{len(beside.faults)} faults in {len(cases)}"
    return result


async def against(cases):
    tally = Tally()
    async with origin.Origin(gateway.ORIGIN, Hostile) as behind:
        behind.cases = cases
        waiting = iter(enumerate(cases))

        async def lane():
            for number, case in waiting:
                try:
                    await one(tally, number, case)
                    await victim(tally, case)
                except OSError as refused:
                    tally.fault(case, str(refused))

        await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
    tally.faults += behind.faults
    return tally


async def one(tally, number, case):
    """The hostile answer, and one to an honest request on the same connection."""
    method = case.rule.get("method", "GET")
    asked = f"{method} /h/{number} HTTP/1.1\r\nHost: site.test\r\n{case.rule.get('fields', '')}\r\n".encode()
    asked += f"GET /f{case.token[1:]} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n".encode()
    got = await exchanged(asked, LONGEST_SECS)
    if not got:
        # A client takes it for a connection that was over, and may send its request again.
        tally.fault(case, "the client got no byte")
    judge(tally, case, asked, got, 1)


async def victim(tally, case):
    asked = b"".join(
        f"GET /v/{case.token}/{number} HTTP/1.1\r\nHost: site.test\r\n{end}\r\n".encode()
        for number, end in enumerate(("", "Connection: close\r\n")))
    got = await exchanged(asked, LONGEST_SECS)
    found = judge(tally, case, asked, got, 0)
    tally.seen["victims served"] += len(found)
    if len(found) != 2:
        tally.fault(case, f"a victim got {len(found)} of 2 answers: {got[:300]!r}")


def judge(tally, case, asked, got, hostile):
    """All answers but the first `hostile` ones must be the origin's honest ones."""
    requests, _ = requests_in(asked)
    found = answers_in(tally, case, [one.method for one in requests], got)
    if hostile and found:
        tally.seen["502" if found[0].status == 502 else "passed on"] += 1
        for name in case.rule.get("absent", ()):
            if found[0].all(name.encode()):
                tally.fault(case, f"{name} went on: {found[0].fields}")
    for number, answer in enumerate(found[hostile:], hostile):
        if number >= len(requests):
            tally.fault(case, f"an answer more than requests: {got[-300:]!r}")
        elif not answer.all(b"x-echo-id"):
            tally.fault(case, f"no answer of its own: {answer.start!r} {answer.body[:100]!r}")
        elif wrong := difference(answer, requests[number]):
            tally.fault(case, wrong)
    return found
