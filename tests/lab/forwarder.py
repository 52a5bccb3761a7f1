"""Stands between one client and the target, forwards bytes, and notes what was asked and answered.

Each run of a client has its own listening port, and its own loopback address to connect onward
from: that address is what the target knows the client by. With TLS the forwarder ends it (HTTP/1.1
only), so that the target sees plain HTTP, as behind a load balancer.
"""

import asyncio
import dataclasses
import socket
import time

from http1 import Body, End, Head, Reader

# An answer from a loopback site takes milliseconds; one that takes this long was held or dripped.
TARPIT_SECS = 4.0


@dataclasses.dataclass
class Exchange:
    """One request and what became of it."""

    at: float
    head: Head
    status: int = 0
    done: float | None = None
    dropped: float | None = None
    cut: bool = False

    def outcome(self, now):
        """`now` is when the run ended: what is unanswered by then counts by how long it waited."""
        if self.status == 429:
            return "throttled"
        if self.status == 403:
            return "denied"
        if (self.done or self.dropped or now) - self.at >= TARPIT_SECS:
            return "tarpitted"
        if self.status >= 500 or self.cut:
            return "failed"
        return "served" if self.done else "dropped"


class Forwarder:
    """The port of one run, and the exchanges seen through it."""

    def __init__(self, target, source, tls=None, announce_tls=False):
        self.target = target
        self.source = source
        self.tls = tls
        self.announce_tls = announce_tls and tls is not None
        self.exchanges = []
        self.tasks = set()

    async def open(self, address, port):
        self.server = await asyncio.start_server(self.serve, address, port, ssl=self.tls, backlog=512)

    async def close(self):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def serve(self, client_in, client_out):
        task = asyncio.current_task()
        self.tasks.add(task)
        try:
            await self.connect(client_in, client_out)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            client_out.close()

    async def connect(self, client_in, client_out):
        target_in, target_out = await asyncio.open_connection(*self.target, local_addr=(self.source, 0))
        target_out.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asked, waiting = [], []
        up = asyncio.ensure_future(self.requests(client_in, target_out, asked, waiting))
        down = asyncio.ensure_future(self.answers(target_in, client_out, asked, waiting))
        try:
            # The answers' end is the connection's end; a client that stopped asking may still read.
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            if not down.done() and waiting:
                await asyncio.wait([down], timeout=30)
        finally:
            for half in (up, down):
                half.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            target_out.close()
            for exchange in waiting:
                exchange.dropped = time.monotonic()

    async def requests(self, source, sink, asked, waiting):
        reader = Reader()
        while data := await source.read(65536):
            for event in reader.feed(data):
                if isinstance(event, Head):
                    exchange = Exchange(time.monotonic(), event)
                    self.exchanges.append(exchange)
                    waiting.append(exchange)
                    asked.append(event.first.split(" ")[0])
                    sink.write(self.announced(event.raw))
                elif isinstance(event, Body):
                    sink.write(event.raw)
            await sink.drain()

    def announced(self, raw):
        """The head as the target gets it: a gateway is told of TLS, as a load balancer tells it."""
        if not self.announce_tls:
            return raw
        first, rest = raw.split(b"\r\n", 1)
        return first + b"\r\nX-Forwarded-Proto: https\r\n" + rest

    async def answers(self, source, sink, asked, waiting):
        reader = Reader(requests_asked=asked)
        clean = True
        try:
            while data := await source.read(65536):
                for event in reader.feed(data):
                    if isinstance(event, Head) and waiting:
                        waiting[0].status = int(event.first.split(" ")[1])
                        clean = False
                    elif isinstance(event, End) and waiting:
                        waiting.pop(0).done = time.monotonic()
                        clean = True
                sink.write(data)
                await sink.drain()
        finally:
            ended_by_close = not clean and reader.state == reader.read_rest
            for exchange in waiting[:1]:
                if ended_by_close:
                    exchange.done = time.monotonic()
                elif exchange.status == 0 and source.at_eof():
                    exchange.cut = True
