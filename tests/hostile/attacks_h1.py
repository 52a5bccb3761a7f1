"""Floods over HTTP/1, TLS and bare connections. Each is `NAME(aim)`; `Aim` says where, from whom, and until when."""

import contextlib
import itertools
import selectors
import socket
import ssl
import struct
import time

from frames import CONTEXT
from person import FIELDS

TLS = 8443
# Bytes that are written at once where as much as possible is written.
BATCH = 64 << 10
RST = struct.pack("ii", 1, 0)


class Crowd:
    """Connections that are opened, and opened anew where they end; nothing of them is waited for."""

    def __init__(self, aim, opening=b"", small=False):
        self.aim, self.opening, self.small = aim, opening, small
        self.choice = selectors.DefaultSelector()
        self.sources = itertools.cycle(aim.sources)
        self.there = set()

    def open(self):
        sock = socket.socket()
        if self.small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(OSError):
            sock.settimeout(1)
            sock.bind((next(self.sources), 0))
            sock.connect(("127.0.0.1", self.aim.port))
            sock.settimeout(0)
            sock.send(self.opening)
            self.there.add(sock)
            self.choice.register(sock, selectors.EVENT_READ)
            self.aim.told["opened"] += 1
            return
        self.aim.told["refused"] += 1
        sock.close()

    def drop(self, sock):
        self.choice.unregister(sock)
        self.there.discard(sock)
        sock.close()
        self.aim.told["ended"] += 1

    def look(self, wait):
        """Reads what came; who is ended goes."""
        for key, _ in self.choice.select(wait):
            try:
                if key.fileobj.recv(65536):
                    continue
            except BlockingIOError:
                continue
            except OSError:
                pass
            self.drop(key.fileobj)

    def say(self, piece):
        for sock in list(self.there):
            try:
                self.aim.told["bytes"] += sock.send(piece)
            except BlockingIOError:
                pass
            except OSError:
                self.drop(sock)

    def stay(self, piece=b"", every=0.1, again=True, reads=True):
        """Keeps them to the end, and says something each so many seconds."""
        while time.monotonic() < self.aim.until:
            began = time.monotonic()
            while again and len(self.there) < self.aim.count and time.monotonic() < self.aim.until:
                self.open()
                if time.monotonic() > began + 0.2:
                    break
            if reads:
                self.look(0)
            if piece:
                self.say(piece)
            time.sleep(max(0.0, began + every - time.monotonic()))


def head(method="GET", path="/", host="site.test", *more):
    fields = "\r\n".join((f"Host: {host}", *FIELDS, *more))
    return f"{method} {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode()


# ---- heads that do not come
def slow_heads(aim):
    Crowd(aim, b"GET / HTTP/1.1\r\nHost: site.test\r\nX-A: ").stay(b"x", every=0.5)


def half_heads(aim):
    Crowd(aim, head()[:60]).stay()


def silent(aim):
    Crowd(aim).stay()


def kept(aim):
    Crowd(aim, head(path="/kept")).stay()


# ---- connections that are as quickly gone
def leave(aim):
    for source in itertools.cycle(aim.sources):
        if time.monotonic() > aim.until:
            return
        touch(aim, source)


def leave_by_reset(aim):
    for source in itertools.cycle(aim.sources):
        if time.monotonic() > aim.until:
            return
        touch(aim, source, reset=True)


def touch(aim, source, opening=b"", reset=False):
    try:
        with socket.socket() as sock:
            sock.settimeout(1)
            sock.bind((source, 0))
            sock.connect(("127.0.0.1", aim.port))
            if opening:
                sock.send(opening)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
            aim.told["opened"] += 1
    except OSError:
        aim.told["refused"] += 1


def client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        CONTEXT.wrap_bio(incoming, outgoing, server_hostname="site.test").do_handshake()
    return outgoing.read()


def hello_leave(aim):
    opening = client_hello()
    for source in itertools.cycle(aim.sources):
        if time.monotonic() > aim.until:
            return
        touch(aim, source, opening)


def hello_half(aim):
    Crowd(aim, client_hello()[:100]).stay()


def hello_still(aim):
    """Handshakes that the client never goes on with."""
    Crowd(aim, client_hello()).stay()


def noise(aim):
    Crowd(aim, bytes(range(256)) * 4).stay()


# ---- answers that are not read
def unread(aim):
    """All are there at once, and then stay."""
    crowd = Crowd(aim, head(path="/big"), small=True)
    for _ in range(aim.count):
        crowd.open()
    crowd.stay(again=False, reads=False)


def slow_readers(aim):
    """2 KB a second of an answer of 64 MiB."""
    crowd = Crowd(aim, head(path="/big", host=aim.host), small=True)
    for _ in range(aim.count):
        crowd.open()
    while time.monotonic() < aim.until:
        for sock in list(crowd.there):
            with contextlib.suppress(OSError):
                sock.recv(512)
        time.sleep(0.25)


def pipelined(aim):
    """Requests behind requests, whose answers are not read."""
    crowd = Crowd(aim, head(path="/"), small=True)
    crowd.stay(head(path="/") * 20, every=0.01, reads=False)


# ---- bodies
def tiny_chunks(aim):
    """Bodies in chunks of so many bytes, `most_bytes` on the wire in all, written as fast as they are taken in."""
    chunk = b"%x\r\n%s\r\n" % (aim.size, b"x" * aim.size)
    body = chunk * (aim.most_bytes // aim.count // len(chunk)) + b"0\r\n\r\n"
    whole = aim.most_bytes // aim.count // len(chunk) * aim.size
    crowd = Crowd(aim, head("POST", "/upload", "site.test", "Transfer-Encoding: chunked"))
    for _ in range(aim.count):
        crowd.open()
    rests = dict.fromkeys(crowd.there, memoryview(body))
    while rests and time.monotonic() < aim.until:
        for sock, rest in list(rests.items()):
            try:
                rests[sock] = rest[sock.send(rest[:BATCH]) if rest else 0:]
                aim.told["bytes"] += len(rest) - len(rests[sock])
                if not rest and (answer := sock.recv(65536)):
                    aim.told["served"] += b"taken %d" % whole in answer
                    del rests[sock]
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:
                crowd.drop(sock)
                del rests[sock]


def slow_posts(aim):
    """A megabyte each, at a pace just above the slowest that is allowed."""
    crowd = Crowd(aim, head("POST", "/slow", aim.host, "Content-Length: 1000000"))
    crowd.stay(b"x" * 150, every=0.5)


def expectations(aim):
    Crowd(aim, head("POST", "/slow", aim.host, "Content-Length: 1000000", "Expect: 100-continue")).stay()


def bodies_that_stop(aim):
    Crowd(aim, head("POST", "/slow", aim.host, "Content-Length: 1000000") + b"xyz").stay()


def bodies_that_never_come(aim):
    Crowd(aim, head("POST", "/slow", aim.host, "Content-Length: 1000000")).stay()


# ---- requests
def many_names(aim):
    """Each request has names of its own, so that whatever is kept by one grows."""
    crowd = Crowd(aim)
    for number in itertools.count():
        if time.monotonic() > aim.until:
            return
        while len(crowd.there) < aim.count:
            crowd.open()
        for place, sock in enumerate(list(crowd.there)):
            own = f"n{number}x{place}"
            request = (f"GET /{own}?{own} HTTP/1.1\r\nHost: {own}.test\r\nUser-Agent: {own}/1.0\r\nX-{own}: 1\r\nCookie: {own}=1\r\n"
                       f"Referer: http://{own}/\r\n\r\n").encode()
            try:
                aim.told["bytes"] += sock.send(request)
            except BlockingIOError:
                pass
            except OSError:
                crowd.drop(sock)
        crowd.look(0.002)


def large_heads(aim):
    """31 KB of path."""
    Crowd(aim).stay(head(path="/" + "a/" * 15500), every=0.02)
