"""Sends what one client sends, from an address of its own, and notes what becomes of each request."""

import asyncio
import contextlib
import dataclasses
import functools
import ssl
import urllib.parse

import h2.config
import h2.connection
import h2.events

# The origin says so in each of its answers: without it an answer is the gateway's own.
MARK = "x-from-origin"
PATIENCE = 30
# What HTTP/2 has no place for (RFC 9113 section 8.2.2), or says in another way.
NOT_IN_H2 = {"host", "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "http2-settings", "te"}


@dataclasses.dataclass(eq=False)
class Request:
    method: str
    path: str
    fields: list
    body: bytes = b""

    def with_length(self):
        if not self.body and self.method not in ("POST", "PUT", "PATCH"):
            return self.fields
        rest = [pair for pair in self.fields if pair[0].lower() != "content-length"]
        return [*rest, ("Content-Length", str(len(self.body)))]


@dataclasses.dataclass
class Client:
    """A program, or a person with one: what it asks for, and how."""

    kind: str
    name: str
    requests: list
    http: int = 1
    tls: bool = True
    address: str = ""
    outcomes: list = dataclasses.field(default_factory=list)

    @property
    def worst(self):
        for outcome in ("held", "denied", "failed", "throttled"):
            if outcome in self.outcomes:
                return outcome
        return "served"


async def send(client, host):
    """Sends all of it on one connection after another, until it is held or refused for good."""
    left = list(client.requests)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while left and client.outcomes[-1:] not in (["held"], ["denied"]):
                before = len(left)
                line = None
                try:
                    line = await Line.open(client, host)
                    while left and not line.over and client.outcomes[-1:] not in (["held"], ["denied"]):
                        await line.ask(left, client.outcomes, host)
                except (OSError, EOFError):
                    # A kept connection may end between two requests; one that never answers may not.
                    if len(left) == before:
                        client.outcomes.append("failed")
                        left.pop(0)
                finally:
                    if line:
                        line.close()


def outcome(request, status, from_origin):
    # The gateway itself answers for robots.txt, to whoever is served.
    if from_origin or (status == 200 and request.path == "/robots.txt"):
        return "served"
    if status == 429:
        return "throttled"
    return {200: "held"}.get(status, "denied" if status < 500 else "failed")


@functools.cache
def tls(http):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whose certificate it is matters to nothing that is looked at here.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"] if http == 2 else ["http/1.1"])
    return context


class Line:
    """One connection."""

    @classmethod
    async def open(cls, client, host):
        context = tls(client.http) if client.tls else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", 443 if client.tls else 80, ssl=context, local_addr=(client.address, 0),
            server_hostname=host if client.tls else None)
        over_h2 = client.tls and writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        return (H2 if over_h2 else H1)(reader, writer)

    def __init__(self, reader, writer):
        self.reader, self.writer, self.over = reader, writer, False
        self.begin()

    def begin(self):
        pass

    def close(self):
        self.writer.transport.abort()


class H1(Line):
    async def ask(self, left, outcomes, host):
        request = left[0]
        fields = [("Host", host), *(pair for pair in request.with_length() if pair[0].lower() != "host")]
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        self.writer.write(f"{request.method} {request.path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + request.body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        left.pop(0)
        status = int(lines[0].split()[1])
        got = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        outcomes.append(outcome(request, status, MARK in got))
        self.over = got.get("connection") == "close"
        if outcomes[-1] != "held" and request.method != "HEAD" and status not in (204, 304):
            await self.body(got)

    async def body(self, got):
        if "content-length" in got:
            await self.reader.readexactly(int(got["content-length"]))
        elif got.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                await self.reader.readexactly(size + 2)
            await self.reader.readuntil(b"\r\n")
        else:
            self.over = True


class H2(Line):
    def begin(self):
        self.state = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
        self.state.initiate_connection()
        self.state.increment_flow_control_window(1 << 30)
        self.first = True

    async def ask(self, left, outcomes, host):
        """The first request alone, since it may be held; after it as many at once as browsers ask for."""
        asked = {self.begin_stream(request, host): request for request in left[: 1 if self.first else 10]}
        self.first = False
        while asked:
            self.writer.write(self.state.data_to_send())
            data = await self.reader.read(65536)
            if not data:
                raise EOFError
            for event in self.state.receive_data(data):
                stream = getattr(event, "stream_id", None)
                if isinstance(event, h2.events.ResponseReceived):
                    got = dict(event.headers)
                    request = asked.pop(stream)
                    left.remove(request)
                    outcomes.append(outcome(request, int(got[":status"]), MARK in got))
                    if outcomes[-1] in ("held", "denied"):
                        return
                elif isinstance(event, h2.events.StreamReset) and stream in asked:
                    raise EOFError
                elif isinstance(event, h2.events.ConnectionTerminated):
                    self.over = True

    def begin_stream(self, request, host):
        stream = self.state.get_next_available_stream_id()
        pseudo = [(":method", request.method), (":authority", host), (":scheme", "https"), (":path", request.path)]
        fields = [(name.lower(), value) for name, value in request.with_length() if name.lower() not in NOT_IN_H2]
        self.state.send_headers(stream, pseudo + fields, end_stream=not request.body)
        if request.body:
            self.state.send_data(stream, request.body, end_stream=True)
        return stream


def quoted(path):
    """A path as a client would send it."""
    return urllib.parse.quote(path, safe="/?&=%+:,;@!$'()*~-._[]")
