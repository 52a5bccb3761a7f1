"""A person beside an attack: 20 requests a second as a browser sends them, through the same gateway, to a site
with the pipeline that ships. A process of its own, so that an attack's bookkeeping does not slow it down.

`with Person(stage) as person: …`, then `person.failed`, `person.asked`, `person.p50_ms`, `person.p99_ms`.
"""

import asyncio
import contextlib
import itertools
import json
import signal
import subprocess
import sys
import time

RATE = 20
# A person has gone by then.
PATIENCE = 10
# Pages read on one connection before the browser opens another.
KEPT_ALIVE = 10
HOST = "person.test"
FIELDS = (
    "Connection: keep-alive",
    'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Linux"',
    "Upgrade-Insecure-Requests: 1",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Sec-Fetch-Site: none",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-User: ?1",
    "Sec-Fetch-Dest: document",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-US,en;q=0.9",
)


class Person:
    def __init__(self, stage, port=8080, address="127.99.0.1"):
        self.command = [sys.executable, "-B", __file__, str(port), address]
        self.stage = stage
        self.asked = self.failed = 0
        self.p50_ms = self.p99_ms = self.worst_ms = 0.0
        self.why = {}

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            told, _ = self.process.communicate(timeout=PATIENCE + 5)
            self.__dict__.update(json.loads(told))
        except (subprocess.TimeoutExpired, ValueError):
            self.process.kill()
            self.why = {"the meter itself gave up": 1}
            self.failed = 1

    def __str__(self):
        return f"person {self.asked - self.failed} of {self.asked}, p99 {self.p99_ms:.0f} ms"


class Tab:
    """A connection that is kept for some pages."""

    def __init__(self, port, address):
        self.port, self.address, self.left = port, address, 0

    async def read(self, path):
        """What is wrong with the page, if anything. A kept connection that has ended meanwhile costs a browser no
        more than another one."""
        kept = self.left > 0
        try:
            return await self._read(path)
        except (ConnectionError, asyncio.IncompleteReadError) as ended:
            self.drop()
            if not kept or getattr(ended, "partial", b""):
                raise
            return await self._read(path)

    async def _read(self, path):
        if self.left == 0:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.address, 0))
            self.left = KEPT_ALIVE
        self.left -= 1
        fields = "\r\n".join((f"Host: {HOST}", *FIELDS))
        self.writer.write(f"GET {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        body = await self.reader.readexactly(int(lines.get(b"content-length", b"0")))
        if lines.get(b"connection") == b"close" or self.left == 0:
            self.drop()
        if status != 200:
            return f"status {status}"
        return "" if f"<p>{path}</p>".encode() in body else "another's answer"

    def drop(self):
        self.left = 0
        with contextlib.suppress(AttributeError):
            self.writer.transport.abort()


async def read_pages(port, address, over):
    """Starts a page each 50 ms, however long those before it take: a wait is not left out of the count."""
    took, why, running, free = [], {}, set(), []

    async def one(path):
        tab = free.pop() if free else Tab(port, address)
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                wrong = await tab.read(path)
        except (OSError, EOFError, ValueError) as failure:
            wrong = type(failure).__name__
        took.append((time.monotonic() - began) * 1000)
        if wrong:
            why[wrong] = why.get(wrong, 0) + 1
            tab.drop()
        free.append(tab)

    began = time.monotonic()
    for number in itertools.count():
        wait = began + number / RATE - time.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), max(wait, 0))
        if over.is_set():
            break
        task = asyncio.create_task(one(f"/page/{number}"))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    took.sort()
    at = lambda share: took[min(len(took) - 1, int(len(took) * share))] if took else 0.0  # noqa: E731
    return {
        "asked": len(took), "failed": sum(why.values()), "why": why,
        "p50_ms": at(0.5), "p99_ms": at(0.99), "worst_ms": at(1)}


async def main(port, address):
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, over.set)
    print(json.dumps(await read_pages(port, address, over)))


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]), sys.argv[2])))
