"""Requests of HTTP/2 that reach an origin of HTTP/1 (tables/downgrade.toml): what the origin reads is one request each."""

import asyncio
import collections
import itertools
from concurrent import futures

import compression
import gateway
import origin
import tables
from frames import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, Client, Closed, Late, frame, pseudo
from kinds.h2_cases import NGINX
from result import Result

TLS, HOST = 8443, b"t.example"
AT_ONCE = 6
# Requests on one connection; a stream that a case spoils spoils none of another.
PER_CONNECTION = 80
PATIENCE = 8.0


class Kept(origin.Connection):
    """Looks into what is written for traces of what must not be there."""

    def take(self, request):
        if b"smuggled" in request.start:
            self.origin.fault("a smuggled request", self)
        # The case, its name and what may not be in its head.
        number = request.one(b"x-case")
        never = self.origin.never.get(number)
        if never and any(never in value for _, value in request.fields):
            self.origin.fault(f"{never!r} is believed", self)
        self.origin.count[number] += 1
        super().take(request)


def cases(table, smoke):
    """Name, rule, choice of values; all of them, or an even share."""
    found = []
    for rule in table.data["case"]:
        choices = {name: list(tables.values(given)) for name, given in rule.get("with", {}).items()}
        if "start" in choices:
            # Each pseudo field begins as its good value does.
            pairs = zip(choices.pop("field"), choices.pop("start"), strict=True)
            rows = [{"field": field, "start": start, "in": text} for (field, start), text in itertools.product(pairs, choices["in"])]
        else:
            rows = [dict(zip(choices, row, strict=True)) for row in itertools.product(*choices.values())]
        found += [(rule, row) for row in rows]
    most = table.data["smoke"]
    if smoke and len(found) > most:
        found = [found[number * len(found) // most] for number in range(most)]
    return found


def filled(text, row):
    for name, value in row.items():
        text = text.replace("{" + name + "}", value)
    return text.encode("latin-1", "replace")


class Request:
    """The frames of one case."""

    def __init__(self, rule, row, number):
        self.rule, self.number = rule, str(number).encode()
        fill = lambda text: filled(text, row)  # noqa: E731
        self.name = f"{rule['name']} {[value[:30] for value in row.values()]}"
        self.method = fill(rule.get("method", "GET"))
        fields = dict(pseudo(HOST, method=self.method))
        for name, value in rule.get("pseudo", {}).items():
            fields[fill(name)] = fill(value)
        lead = [(name, value.replace(b"{empty}", b"")) for name, value in fields.items() if value]
        self.own = [(fill(name), fill(value)) for name, value in rule.get("fields", [])] * rule.get("times", 1)
        # A pseudo field that is sent as any other stands among its like.
        lead += [one for one in self.own if one[0].startswith(b":")]
        self.fields = lead + [one for one in self.own if not one[0].startswith(b":")] + [(b"x-case", self.number)]
        self.body = fill(rule.get("body", ""))
        self.trailers = [(fill(name), fill(value)) for name, value in rule.get("trailers", [])]
        self.pieces = fill(rule.get("pieces", "")).decode()
        good = rule.get("good")
        self.want = rule.get("want", "any")
        if good and row["b"] in set(itertools.chain.from_iterable(tables.values(part) for part in good.split(","))):
            self.want = 200

    def frames(self, stream):
        block = compression.block(self.fields)
        has_more = bool(self.body or self.trailers)
        parts = [block[at:at + 16384] for at in range(0, len(block), 16384)]
        ends = END_STREAM * (not has_more)
        out = frame(HEADERS, ends | END_HEADERS * (len(parts) == 1), stream, parts[0])
        for place, part in enumerate(parts[1:], 2):
            out += frame(CONTINUATION, END_HEADERS * (place == len(parts)), stream, part)
        if has_more:
            out += b"".join(self.data(stream))
        if self.trailers:
            out += frame(HEADERS, END_STREAM | END_HEADERS, stream, compression.block(self.trailers))
        return out

    def data(self, stream):
        ends = END_STREAM * (not self.trailers)
        step = int(self.pieces) if self.pieces.isdigit() else len(self.body)
        parts = [self.body[at:at + step] for at in range(0, len(self.body), step)]
        for place, part in enumerate(parts, 1):
            last = ends * (place == len(parts) and self.pieces != "empty-end")
            if self.pieces == "empty":
                yield frame(DATA, 0, stream)
            if self.pieces == "padded":
                yield frame(DATA, last | PADDED, stream, b"\x20" + part + bytes(32))
            else:
                yield frame(DATA, last, stream, part)
        if self.pieces == "empty-end":
            yield frame(DATA, ends, stream)

    def judge(self, told, head):
        """What is wrong with the answer, if anything."""
        refused = not isinstance(told, int) or 400 <= told < 500
        if self.want == "refused" and not refused or isinstance(self.want, int) and told != self.want:
            return f"{self.name}: wanted {self.want}, came {told}"
        if told == "late" or isinstance(told, int) and told >= 500:
            return f"{self.name}: came {told}"
        if told == 200 and (seen := dict(head).get(b"x-echo-body")) is not None and seen != origin.mark(self.body):
            return f"{self.name}: the origin read another body: {seen}"
        return ""


def worker(requests, outcomes):
    """Sends requests one after the other, on a connection that is opened anew where one has ended."""
    client, stream = None, 1
    for request in requests:
        if client is None or stream > 2 * PER_CONNECTION:
            if client:
                client.close()
            client, stream = Client(TLS, HOST.decode()), 1
        client.head = []
        try:
            client.send(request.frames(stream))
            told, _ = client.answer(stream, PATIENCE)
        except (Closed, Late):
            told = "closed"
        outcomes.append((request, told, client.head))
        stream += 2
        if not isinstance(told, int):
            client.close()
            client = None
    if client:
        client.close()


def play(requests):
    outcomes = []
    with futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(worker, requests[first::AT_ONCE], outcomes) for first in range(AT_ONCE)]:
            done.result()
    return outcomes


def expecting(requests):
    """An origin that knows what must not come."""
    behind = origin.Origin(gateway.ORIGIN, Kept)
    behind.count = collections.Counter()
    behind.never = {one.number: one.rule["never"].encode() for one in requests if "never" in one.rule}
    return behind


async def run(table, scene):
    result = Result()
    requests = [Request(rule, row, number) for number, (rule, row) in enumerate(cases(table, scene.smoke))]
    async with expecting(requests) as behind:
        with gateway.thornwall(scene.stage, limits="") as server:
            outcomes = await asyncio.to_thread(play, requests)
            result.require(server.alive, "the gateway has ended")
        for request, told, head in outcomes:
            if wrong := request.judge(told, head):
                result.fault(wrong)
        for number, count in behind.count.items():
            result.require(count == 1 or number is None, f"case {number} reached the origin {count} times")
        for line in behind.faults:
            result.fault(line)
    result.cases = len(outcomes)
    served = sum(told == 200 for _, told, _ in outcomes)
    if scene.beside:
        async with expecting(requests) as theirs:
            with gateway.nginx(scene.stage, NGINX, (TLS,)):
                others = await asyncio.to_thread(play, requests)
        wrong = sum(bool(request.judge(told, head)) for request, told, head in others)
        result.beside = f"{wrong} otherwise than wanted, {theirs.broken} not canonical at the origin"
    result.note(f"{behind.taken} at the origin, {behind.broken} not canonical; {served} served, {len(outcomes) - served} refused")
    return result
