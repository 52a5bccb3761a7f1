"""Attackers and victims who share the gateway's connections to an origin.

The attackers send a head, wait for the origin's answer or do not, and then send a body that is a request of
its own. The victims ask for pages, each with a word of its own, and must get exactly these.
"""

import asyncio
import contextlib
import itertools
import secrets

import gateway
import origin
import servers
import tables
from person import FIELDS, Person
from result import Result
from stage import SITE

CHOICE = "/attackers-choice"
# Connections at once, of each.
ATTACKERS, VICTIMS = 12, 16
# Requests of a victim, who is a client at an address of its own.
OF_A_VICTIM = 8
PATIENCE = 10


async def run(table, scene):
    result = Result()
    names = table.data["smoke_origins" if scene.smoke else "origins"]
    with contextlib.ExitStack() as ended:
        for name in names:
            if name in servers.START:
                servers.START[name](scene.stage, ended)
        sites = "".join(SITE.format(name=name, port=servers.PORTS[name], http="1", hosts=f'["{name}.test"]') for name in names)
        with gateway.thornwall(scene.stage, sites, limits="") as server, Person(scene.stage) as person:
            await against_all(table, scene, names, result)
            result.server(server)
        result.person(person)
        if scene.beside:
            with gateway.nginx(scene.stage, proxy(names)):
                beside = Result()
                await against_all(table, scene, names, beside)
            result.beside = "; ".join(beside.notes)
    return result


async def against_all(table, scene, names, result):
    for name in names:
        ignoring = origin.Origin(servers.PORTS[name], Ignoring) if name not in servers.START else contextlib.nullcontext()
        async with ignoring:
            round_ = Round(f"{name}.test", list(tables.cases(table, False, "attack")))
            await round_.run(table.data["smoke" if scene.smoke else "victims"])
        result.cases += round_.asked
        result.note(f"{name}: {round_.wrong} wrong of {round_.asked}")
        if round_.failed:
            result.note(f"{name}: {round_.failed} without an answer")
        result.require(not round_.wrong, f"{name}: {round_.wrong} of {round_.asked} victims got another's answer: {round_.why}")
        # nginx, too, loses some where an origin ends kept connections at its will.
        result.require(round_.failed * 200 <= round_.asked, f"{name}: {round_.failed} of {round_.asked} victims got none: {round_.why}")
        result.require(round_.attacks, f"{name}: no attack was made")


def proxy(names):
    """nginx in front of the same, with kept connections that all clients share."""
    parts = ["access_log off;"]
    for name in names:
        parts.append(f"upstream {name} {{ server 127.0.0.1:{servers.PORTS[name]} max_fails=0; keepalive 32; }}")
        parts.append(
            f"server {{ listen 127.0.0.1:8080 backlog=4096; server_name {name}.test; location / {{ proxy_pass http://{name};"
            ' proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; } }')
    return "\n".join(parts).replace(" backlog=4096", "", len(names) - 1)


# Bytes of an upload that an origin is asked for before it is there as a whole.
LARGE = 80_000


class Round:
    """One origin, attacked while victims read."""

    def __init__(self, host, attacks):
        self.host, self.kinds = host, itertools.cycle(attacks)
        self.asked = self.wrong = self.failed = self.attacks = 0
        self.why = []
        self.numbers = itertools.count()

    def address(self):
        """A client that nobody was before."""
        number = next(self.numbers)
        return f"127.{60 + number // 62500 % 30}.{number // 250 % 250}.{number % 250 + 1}"

    async def run(self, victims):
        self.left = victims
        attackers = [asyncio.create_task(self.attack()) for _ in range(ATTACKERS)]
        await asyncio.gather(*(self.read() for _ in range(VICTIMS)))
        for one in attackers:
            one.cancel()
        for ended in await asyncio.gather(*attackers, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                raise ended

    async def read(self):
        while self.left > 0:
            writer = None
            try:
                async with asyncio.timeout(PATIENCE):
                    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.PORT, local_addr=(self.address(), 0))
                    for _ in range(OF_A_VICTIM):
                        self.left -= 1
                        self.asked += 1
                        if not await self.ask(reader, writer):
                            break
            except (OSError, EOFError) as none:
                self.failed += 1
                self.tell(repr(none))
            finally:
                if writer:
                    writer.transport.abort()

    async def ask(self, reader, writer):
        path = f"/v/{secrets.token_hex(8)}"
        writer.write("\r\n".join((f"GET {path} HTTP/1.1", f"Host: {self.host}", *FIELDS, "", "")).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        if lines.get(b"transfer-encoding") == b"chunked":
            body = b""
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readuntil(b"\r\n")
        else:
            body = await reader.readexactly(int(lines.get(b"content-length", b"0")))
        if head.startswith(b"HTTP/1.1 50"):
            self.failed += 1
            self.tell(head[:40])
        elif not head.startswith(b"HTTP/1.1 200 ") or body != path.encode():
            self.wrong += 1
            self.tell(head[:20] + body[:60])
            return False
        return lines.get(b"connection") != b"close"

    def tell(self, what):
        if len(self.why) < 5:
            self.why.append(what)

    async def attack(self):
        while True:
            case = next(self.kinds)
            # An attacker who does not wait for anything would only keep this process from its victims.
            await asyncio.sleep(0.002)
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self.attack_once(case)
            self.attacks += 1

    async def attack_once(self, case):
        """Head and first byte, the origin's answer, a while, and then the rest of the body."""
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.PORT, local_addr=(self.address(), 0))
        smuggled = "\r\n".join((f"GET {CHOICE} HTTP/1.1", f"Host: {self.host}", "X-Request-ID: 1", "", ""))
        head, _, body = case.sent.decode("latin-1").partition("\r\n\r\n")
        if "{length}" in head:
            # So large that the gateway does not wait for all of it.
            smuggled += "x" * (LARGE - len(smuggled))
        head, body = (
            text.replace("{host}", self.host).replace("{fields}", "\r\n".join(FIELDS)).replace("{smuggled}", smuggled)
            .replace("{length}", str(len(smuggled))).replace("{size}", f"{len(smuggled):x}") for text in (head, body))
        try:
            first = body.find("\r\n") + 3 if "chunked" in head.lower() else 1
            writer.write(f"{head}\r\n\r\n{body[:first]}".encode())
            body = body[first:]
            if (wait := case.rule.get("wait", "answer")) == "answer":
                async with asyncio.timeout(1):
                    while not (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 1"):
                        break
            if wait != "none":
                await asyncio.sleep(case.rule.get("pause_ms", 0) / 1000)
            writer.write(body.encode())
            await asyncio.sleep(0.01)
        finally:
            writer.transport.abort()


class Ignoring(origin.Connection):
    """Answers as soon as it has read a head, and reads no body: what follows is the next request."""

    def data_received(self, data):
        self.raw += data
        while (end := self.raw.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.raw[:end])
            del self.raw[: end + 4]
            method, _, rest = head.lstrip().partition(b" ")
            target = rest.split(b" ")[0]
            status = b"200 OK" if method in (b"GET", b"HEAD") else b"401 Unauthorized"
            body = target if method == b"GET" else b""
            length = len(target) if method == b"HEAD" else len(body)
            self.transport.write(
                b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (status, length, body))
            if b"\r\nconnection: close" in head.lower():
                self.transport.close()
                return
