"""An origin that keeps the exact bytes of each connection, reads them strictly, and says in each answer
whose answer it is: the id that the gateway gave the request, its method, its body and its target.
"""

import asyncio
import contextlib
import zlib

from wire import Broken, Requests

# Bytes of one connection that are kept for reports, the last ones; all of them are read.
KEPT = 1 << 20
# Reasons that are told one by one; all are counted.
TOLD = 20
SAFE = (b"GET", b"HEAD", b"OPTIONS")
# What the gateway asks for on its own account, under its own name and without an id.
ROBOTS = b"GET /robots.txt HTTP/1.1"


def mark(body):
    """A body as one word."""
    return b"%d-%08x" % (len(body), zlib.crc32(body))


class Connection(asyncio.Protocol):
    """One connection; a subclass may answer otherwise."""

    def __init__(self, origin):
        self.origin = origin
        self.reader = Requests(canonical=True)
        self.raw = bytearray()
        self.over = False

    def connection_made(self, transport):
        self.transport = transport
        self.origin.connections += 1
        self.origin.open.add(self)

    def connection_lost(self, _):
        self.origin.open.discard(self)

    def data_received(self, data):
        self.raw += data
        del self.raw[:-KEPT]
        try:
            for request in self.reader.feed(data):
                if self.over:
                    self.origin.fault("a request behind Connection: close", self)
                self.take(request)
        except Broken as broken:
            self.origin.fault(str(broken), self)
            self.transport.close()

    def take(self, request):
        self.origin.note(request, self)
        self.over = any(value.lower() == b"close" for value in request.all(b"connection"))
        self.transport.write(echo(request))
        if self.over:
            self.transport.close()


def echo(request, more=b""):
    ids = b",".join(request.all(b"x-request-id"))
    body = request.target
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nX-Echo-Id: %s\r\nX-Echo-Method: %s\r\n"
        b"X-Echo-Body: %s\r\n%s\r\n" % (len(body), ids, request.method, mark(request.body), more))
    return head if request.method == b"HEAD" else head + body


class Origin:
    """`async with Origin(port) as origin`; afterwards `faults`, and `requests` by id."""

    def __init__(self, port, protocol=Connection, retries=False):
        self.port, self.protocol = port, protocol
        # Whether its answers are such that the gateway may ask again.
        self.retries = retries
        self.connections = self.taken = self.broken = 0
        self.open = set()
        self.requests = {}
        self.faults = []

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: self.protocol(self), "127.0.0.1", self.port, backlog=4096)
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for one in list(self.open):
            one.transport.abort()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 1)

    def note(self, request, connection):
        """What the gateway vouches for: each request has one id, and no id has two requests."""
        ids = request.all(b"x-request-id")
        if not ids and request.start == ROBOTS and request.one(b"user-agent") == b"thornwall":
            return
        self.taken += 1
        if len(ids) != 1:
            self.fault(f"a request with {len(ids)} ids", connection)
        elif ids[0] in self.requests:
            if self.retries and self.requests[ids[0]] == (request.method, request.target) and request.method in SAFE:
                return
            self.fault("one id, two requests", connection)
        else:
            self.requests[ids[0]] = (request.method, request.target)

    def fault(self, what, connection):
        self.broken += 1
        if len(self.faults) < TOLD:
            self.faults.append(f"at the origin: {what}: {bytes(connection.raw[-300:])!r}")
