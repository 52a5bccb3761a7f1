"""People at a site while its gateway is exchanged, each in a thread and from an address of their own: pages over
kept and new connections of HTTP/1.1 and over HTTP/2, uploads, long downloads and a WebSocket.

A process of its own, `people.py PORT TLS_PORT`; on SIGINT it lets what is under way end, and prints what came of
it as JSON. A kept connection that ends before its next request is answered is no failure: every client must be
ready for that (RFC 9112 section 9.3.1), and asks again. Nor is a WebSocket that ends between two messages.
"""

import base64
import collections
import hashlib
import itertools
import json
import os
import pathlib
import signal
import socket
import struct
import sys
import threading
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "hostile"))
import frames  # noqa: E402
import origin  # noqa: E402
from person import FIELDS  # noqa: E402

HOST = "shop.test"
PATIENCE = 30
PER_CONNECTION = 20
PAUSE = 0.02
UPLOAD, UPLOAD_PIECES = 256 << 10, 16
# In one frame, and within the window that every stream begins with (RFC 9113 section 6.9.2).
SMALL_UPLOAD = 8 << 10


class Ended(Exception):
    """The connection ended before the first byte of an answer."""


class Wrong(Exception):
    """Not what the origin sent."""


class Line:
    """A connection of HTTP/1.1."""

    def __init__(self, port, address):
        self.address, self.asked, self.open = address, 0, True
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.reader = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reader.close()
        self.socket.close()

    def send(self, method, path, *more):
        fields = [f"Host: {HOST}", f"X-Forwarded-For: {self.address}", *FIELDS, *more]
        self.asked += 1
        self.write((f"{method} {path} HTTP/1.1\r\n" + "\r\n".join(fields) + "\r\n\r\n").encode())

    def write(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Ended from error

    def head(self, status=200):
        try:
            first = self.reader.readline()
        except ConnectionResetError as error:
            raise Ended from error
        if not first:
            raise Ended
        fields = {}
        while (line := self.reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            fields[name.lower()] = value.strip()
        if int(first.split()[1]) != status or "x-origin" not in fields:
            raise Wrong(f"{first.decode().strip()}, {'' if 'x-origin' in fields else 'not '}from the origin")
        self.open = fields.get("connection", "").lower() != "close"
        return fields

    def body(self):
        length = int(self.head()["content-length"])
        body = self.reader.read(length)
        if len(body) != length:
            raise Wrong(f"{len(body)} of {length} bytes of a body")
        return body


class Streams(frames.Client):
    """A connection of HTTP/2 that notes the last stream that a GOAWAY lets be answered (RFC 9113 section 6.8)."""

    last = None

    def read(self, timeout=5.0):
        found = super().read(timeout)
        if found[0] == frames.GOAWAY:
            self.last = struct.unpack(">I", found[3][:4])[0]
        return found


class People:
    def __init__(self, port, tls_port):
        self.port, self.tls_port = port, tls_port
        self.over = threading.Event()
        self.done, self.again, self.failed = (collections.Counter() for _ in range(3))
        self.slowest = 0.0
        self.numbers = itertools.count(1)

    def crowd(self):
        kinds = [*[self.kept] * 3, *[self.new] * 2, *[self.streams] * 2, *[self.upload] * 2, *[self.download] * 2,
                 self.converse]
        threads = [threading.Thread(target=self.go_on, args=(kind, f"203.0.113.{seat}"))
                   for seat, kind in enumerate(kinds, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def go_on(self, kind, address):
        while not self.over.is_set():
            try:
                kind(address)
            except (Ended, Wrong, OSError, ValueError, frames.Closed, frames.Late) as error:
                self.failed[f"{kind.__name__}: {type(error).__name__} {error}".strip()] += 1
            time.sleep(PAUSE)

    def timed(self, what, ask):
        """Counts an answer, and how long it was waited for."""
        began = time.monotonic()
        found = ask()
        self.done[what] += 1
        self.slowest = max(self.slowest, time.monotonic() - began)
        return found

    def page(self, line, *more):
        path = f"/page/{next(self.numbers)}"
        line.send("GET", path, *more)
        if f"<p>{path}</p>".encode() not in line.body():
            raise Wrong("another's page")

    def kept(self, address):
        with Line(self.port, address) as line:
            while line.open and line.asked < PER_CONNECTION and not self.over.is_set():
                try:
                    self.timed("pages on kept connections", lambda: self.page(line))
                except Ended:
                    if line.asked == 1:
                        raise
                    self.again["HTTP/1.1"] += 1
                    return
                time.sleep(PAUSE)

    def new(self, address):
        with Line(self.port, address) as line:
            self.timed("pages on new connections", lambda: self.page(line))

    def streams(self, address):
        with Streams(self.tls_port, HOST) as line:
            for stream in range(1, 2 * PER_CONNECTION, 2):
                try:
                    self.timed("HTTP/2 requests", lambda: self.stream(line, stream, address))
                except frames.Closed:
                    if line.last is None or stream <= line.last:
                        raise
                    self.again["HTTP/2"] += 1
                if line.last is not None or self.over.is_set():
                    return
                time.sleep(PAUSE)

    def stream(self, line, stream, address):
        fields = [(b"x-forwarded-for", address.encode()), *frames.CHROME]
        host = HOST.encode()
        if stream % 4 == 1:
            path = f"/page/{next(self.numbers)}"
            expected = f"<p>{path}</p>".encode()
            line.send(frames.request(stream, frames.pseudo(host, path.encode()) + fields))
        else:
            body = os.urandom(SMALL_UPLOAD)
            expected = hashlib.sha256(body).hexdigest().encode()
            head = frames.pseudo(host, b"/upload", b"POST") + [(b"content-length", b"%d" % len(body)), *fields]
            line.send(frames.request(stream, head, frames.END_HEADERS)
                      + frames.frame(frames.DATA, frames.END_STREAM, stream, body))
        status, body = line.answer(stream, PATIENCE)
        if isinstance(status, str):
            raise frames.Closed(status)
        if status != 200 or expected not in body:
            raise Wrong(f"HTTP/2: {status}, {'' if expected in body else 'not '}what was asked for")

    def upload(self, address):
        """A second or so of it."""
        body = os.urandom(UPLOAD)
        with Line(self.port, address) as line:
            line.send("POST", "/upload", f"Content-Length: {len(body)}")
            step = len(body) // UPLOAD_PIECES
            for at in range(0, len(body), step):
                line.write(body[at : at + step])
                time.sleep(1 / UPLOAD_PIECES)
            if line.body().decode() != hashlib.sha256(body).hexdigest():
                raise Wrong("another upload")
        self.done["uploads"] += 1

    def download(self, address):
        with Line(self.port, address) as line:
            line.send("GET", "/download")
            line.body()
        self.done["downloads"] += 1

    def converse(self, address):
        key = base64.b64encode(os.urandom(16)).decode()
        with Line(self.port, address) as line:
            line.send("GET", "/socket", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                      f"Sec-WebSocket-Key: {key}")
            if line.head(101)["sec-websocket-accept"] != origin.accept(key):
                raise Wrong("another's WebSocket")
            self.done["WebSockets"] += 1
            while not self.over.is_set():
                said, mask = b"%d" % next(self.numbers), os.urandom(4)
                masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(said))
                try:
                    line.write(bytes([0x81, 0x80 | len(said)]) + mask + masked)
                    found = line.reader.read(2 + len(said))
                except (Ended, ConnectionResetError):
                    found = b""
                if not found:
                    self.again["WebSockets"] += 1
                    return
                if found != bytes([0x81, len(said)]) + said:
                    raise Wrong("another message")
                self.done["messages of WebSockets"] += 1
                time.sleep(0.1)


def main():
    people = People(int(sys.argv[1]), int(sys.argv[2]))
    signal.signal(signal.SIGINT, lambda *_: people.over.set())
    people.crowd()
    print(json.dumps({"done": people.done, "again": people.again, "failed": people.failed,
                      "slowest_ms": round(people.slowest * 1000)}))


if __name__ == "__main__":
    main()
