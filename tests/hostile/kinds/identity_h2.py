"""Who the client is (tables/identity_h2.toml), over both versions alike: what the origin is told in X-Real-IP, whatever others say."""

import asyncio
import collections
import socket

import gateway
import origin
from frames import Client, Closed, pseudo, request
from result import Result

PEER, HOST, TLS = "127.0.0.1", b"site.test", 8443
TRUSTING = '[client_address]\ntrusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"]\n'


class Told(origin.Connection):
    """Keeps what is said of each case's client."""

    def take(self, request):
        self.origin.told[request.one(b"x-case")] = request
        super().take(request)


def text(word):
    return word.encode("latin-1")


def over_http1(number, fields):
    """One request; what is answered, as far as it comes."""
    lines = b"".join(text(name) + b": " + text(value) + b"\r\n" for name, value in fields)
    head = b"GET / HTTP/1.1\r\nHost: site.test\r\nX-Case: %d\r\nConnection: close\r\n%s\r\n" % (number, lines)
    got = b""
    try:
        with socket.create_connection(("127.0.0.1", 8080), 5) as sock:
            sock.sendall(head)
            while piece := sock.recv(65536):
                got += piece
    except OSError:
        pass
    return got


def over_http2(number, fields):
    own = [(text(name.lower()), text(value)) for name, value in fields]
    try:
        with Client(TLS, "site.test") as client:
            client.send(request(1, pseudo(HOST) + own + [(b"x-case", b"%d" % number)]))
            return client.answer(1)[0]
    except (Closed, OSError):
        return "closed"


async def run(table, scene):
    result = Result()
    async with origin.Origin(gateway.ORIGIN, Told) as behind:
        behind.told = collections.defaultdict(lambda: None)
        with gateway.thornwall(scene.stage, gateway.RAW, "") as server:
            await asyncio.to_thread(strangers, table, behind, result)
            result.require(server.alive, "the gateway has ended")
        with gateway.thornwall(scene.stage, gateway.RAW, TRUSTING) as server:
            await asyncio.to_thread(proxies, table, behind, result)
            result.require(server.alive, "the gateway has ended")
            result.note(f"RSS {server.peak_mib():.0f} MiB")
        for line in behind.faults:
            result.fault(line)
    return result


def strangers(table, behind, result):
    passed_on = table.data["passed_on"]
    for number, (name, value) in enumerate(table.data["strangers"]):
        for offset, send in ((0, over_http1), (1000, over_http2)):
            send(number + offset, [(name, value)])
            result.cases += 1
            seen = behind.told[b"%d" % (number + offset)]
            what = f"a stranger's {name}: {value}" + (" over HTTP/2" if offset else "")
            if seen is None:
                result.fault(f"{what}: nothing came to the origin")
                continue
            result.require(seen.one(b"x-real-ip") == PEER.encode(), f"{what}: {seen.all(b'x-real-ip')}")
            result.require(seen.one(b"x-forwarded-for") == PEER.encode(), f"{what}: {seen.all(b'x-forwarded-for')}")
            if name not in passed_on:
                claims = [other for other, said in seen.fields if b"6.6.6.6" in said]
                result.require(not claims, f"{what}: the origin sees {claims}")


def proxies(table, behind, result):
    """Lists of trusted proxies, alike over both versions."""
    many = [["6.6.6.6, " * 10000 + "203.0.113.9", "any"], ["203.0.113.9" + ", 10.0.0.1" * 30, "203.0.113.9"]]
    for number, (value, client) in enumerate(table.data["lists"] + many, 2000):
        seen = []
        for offset, send in ((0, over_http1), (2000, over_http2)):
            send(number + offset, [("X-Forwarded-For", value)])
            result.cases += 1
            request = behind.told[b"%d" % (number + offset)]
            seen.append(request and request.one(b"x-real-ip"))
            wanted = PEER if client == "peer" else client
            if client != "any":
                result.require(seen[-1] == wanted.encode(), f"{value[:60]!r}, {send.__name__}: {seen[-1]}, wanted {wanted}")
        result.require(seen[0] == seen[1] or value[:1] in " " or not value.strip(), f"{value[:60]!r}: {seen[0]} over HTTP/1, {seen[1]} over HTTP/2")
