"""HTTP/1 as we read it: strictly. What two servers could read differently is no request here.

`Requests(canonical=True)` is the origin's view, which must hold what a gateway writes: one spelling of
everything. `canonical=False` is the client's view: what RFC 9112 lets a client send, and no more.
"""

import dataclasses
import re

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
TARGET = re.compile(rb"[\x21-\x7e]+")
# What clients may send and a gateway encodes (docs/decisions.md: one form of the path).
LOOSE_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
# Behind a size: whatever is no control byte, extensions are for nobody (RFC 9112 section 7.1.1).
EXTENSION = re.compile(rb"[ \t;][\t\x20-\x7e\x80-\xff]*")
MOST_HEAD = 1 << 20


class Broken(Exception):
    """No HTTP/1, or none with one meaning."""


@dataclasses.dataclass
class Message:
    """One request or answer; `start` is its first line."""

    start: bytes
    fields: list
    body: bytes = b""
    trailers: list = dataclasses.field(default_factory=list)

    def all(self, name):
        return [value for other, value in self.fields if other.lower() == name]

    def one(self, name):
        found = self.all(name)
        return found[0] if len(found) == 1 else None

    @property
    def method(self):
        return self.start.split(b" ", 1)[0]

    @property
    def target(self):
        return self.start.split(b" ")[1]

    @property
    def status(self):
        return int(self.start[9:12])


class Reader:
    """Bytes come in by `feed`, whole messages go out; what is left over is `held`."""

    def __init__(self):
        self.held = bytearray()
        self._body = None

    def feed(self, data):
        """Gives each message that is whole with this; raises `Broken`, behind which nothing can be read."""
        self.held += data
        while (message := self._next()) is not None:
            yield message

    @property
    def amid(self):
        """Whether a message has begun and is not over."""
        return bool(self.held) or self._body is not None

    def _next(self):
        if self._body is None:
            head = self._head()
            if head is None:
                return None
            self._body = self._reading(head)
        try:
            next(self._body)
        except StopIteration as done:
            self._body = None
            return done.value
        return None

    def _head(self):
        end = self.held.find(b"\r\n\r\n")
        if end < 0:
            self._judge_partial(bytes(self.held))
            return None
        lines = bytes(self.held[:end]).split(b"\r\n")
        del self.held[: end + 4]
        start = self.judge_start(lines[0])
        return Message(start, [field(line) for line in lines[1:]])

    def _judge_partial(self, held):
        if len(held) > MOST_HEAD:
            raise Broken("a head without end")
        if re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?=[^\n])|(?<!\r)\n", held):
            raise Broken("a control byte in a head")

    def _reading(self, message):
        """Reads a body: gives itself up (`yield`) where bytes are missing."""
        framing = self.framing(message)
        if framing == "chunked":
            yield from self._chunks(message)
        elif framing == "close":
            while True:
                message.body += self._all()
                self.unbounded = message
                yield
        else:
            while len(self.held) < framing:
                yield
            message.body = bytes(self.held[:framing])
            del self.held[:framing]
        return message

    def _all(self):
        data = bytes(self.held)
        self.held.clear()
        return data

    def _line(self, most=8192):
        while (end := self.held.find(b"\r\n")) < 0:
            if len(self.held) > most:
                raise Broken("a line without end")
            self._judge_partial(bytes(self.held))
            yield
        line = bytes(self.held[:end])
        del self.held[: end + 2]
        return line

    def _chunks(self, message):
        parts = []
        while size := self.judge_size((yield from self._line())):
            while len(self.held) < size + 2:
                if len(self.held) > size and self.held[size] != 13:
                    raise Broken("a chunk that is longer than its size")
                yield
            if self.held[size : size + 2] != b"\r\n":
                raise Broken("a chunk that is longer than its size")
            parts.append(bytes(self.held[:size]))
            del self.held[: size + 2]
        while line := (yield from self._line()):
            self.judge_trailer(line)
            message.trailers.append(line)
        message.body = b"".join(parts)


def field(line):
    name, colon, value = line.partition(b":")
    if not colon or not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
        raise Broken(f"no field: {line[:80]!r}")
    return name, value.strip(b" \t")


class Requests(Reader):
    def __init__(self, canonical):
        super().__init__()
        self.canonical = canonical

    def _next(self):
        # One blank line may stand before a request (RFC 9112 section 2.2).
        if self._body is None and not self.canonical and self.held.startswith(b"\r\n"):
            del self.held[:2]
        return super()._next()

    def judge_start(self, line):
        parts = line.split(b" ")
        if len(parts) != 3:
            raise Broken(f"no request line: {line[:80]!r}")
        method, target, version = parts
        versions = (b"HTTP/1.1",) if self.canonical else (b"HTTP/1.1", b"HTTP/1.0")
        good = TARGET if self.canonical else LOOSE_TARGET
        if not TOKEN.fullmatch(method) or not good.fullmatch(target) or version not in versions:
            raise Broken(f"no request line: {line[:80]!r}")
        return line

    def framing(self, message):
        """Where the body ends: a length, or `chunked`."""
        hosts, lengths, codings = (message.all(name) for name in (b"host", b"content-length", b"transfer-encoding"))
        if len(hosts) > 1 or (not hosts and (self.canonical or message.start.endswith(b".1"))):
            raise Broken(f"{len(hosts)} hosts")
        if self.canonical:
            self._judge_canonical(message)
        for name in (b"content_length", b"transfer_encoding"):
            if message.all(name):
                raise Broken(f"{name.decode()} is read as a length by some")
        if len(lengths) + len(codings) > 1:
            raise Broken("two framings")
        if codings:
            if codings[0].lower() != b"chunked" or (self.canonical and codings[0] != b"chunked"):
                raise Broken(f"transfer coding {codings[0]!r}")
            if message.start.endswith(b"1.0"):
                raise Broken("chunks in HTTP/1.0")
            return "chunked"
        if lengths and not LENGTH.fullmatch(lengths[0]):
            raise Broken(f"length {lengths[0]!r}")
        return int(lengths[0]) if lengths else 0

    def _judge_canonical(self, message):
        for name, _ in message.fields:
            if b"_" in name or name.lower() in (b"http2-settings", b"expect"):
                raise Broken(f"field {name!r} went on")
        if any(value.lower() != b"websocket" for value in message.all(b"upgrade")):
            raise Broken("an upgrade to something else went on")

    def judge_trailer(self, line):
        """An origin gets none. A gateway that passes none on may let be what stands in a client's."""
        if self.canonical or not VALUE.fullmatch(line):
            raise Broken(f"trailer {line[:40]!r}")

    def judge_size(self, line):
        size = SIZE.match(line)
        rest = line[size.end() :] if size else line
        if not size or (rest and (self.canonical or not EXTENSION.fullmatch(rest))):
            raise Broken(f"chunk size {line[:40]!r}")
        return int(size[0], 16)


class Answers(Reader):
    """A client's view. `methods` are those of its requests, in order, as far as it knows them."""

    def __init__(self, methods=()):
        super().__init__()
        self.methods = list(methods)
        self.unbounded = None

    def judge_start(self, line):
        if not re.fullmatch(rb"HTTP/1\.[01] [1-9][0-9][0-9] [\t\x20-\x7e\x80-\xff]*", line):
            raise Broken(f"no status line: {line[:80]!r}")
        return line

    def framing(self, message):
        if message.status < 200:
            return 0
        method = self.methods.pop(0) if self.methods else b"GET"
        lengths, codings = message.all(b"content-length"), message.all(b"transfer-encoding")
        if len(lengths) > 1 or (lengths and codings):
            raise Broken("an answer with two framings")
        if method == b"HEAD" and message.one(b"x-echo-method") in (b"HEAD", None):
            # Refusals may have content behind HEAD all the same, where the connection ends with it.
            refused = message.status >= 400 and message.all(b"connection") == [b"close"]
            return "close" if refused and not message.all(b"x-echo-id") else 0
        if message.status in (204, 304):
            return 0
        if codings:
            if codings[0].lower() != b"chunked":
                raise Broken(f"an answer in {codings[0]!r}")
            return "chunked"
        if lengths:
            if not re.fullmatch(rb"0|[1-9][0-9]{0,19}", lengths[0]):
                raise Broken(f"an answer of length {lengths[0]!r}")
            return int(lengths[0])
        return "close"

    def end(self):
        """The answer that only the end of the connection ends, if one is under way."""
        return self.unbounded

    judge_size, judge_trailer = Requests.judge_size, Requests.judge_trailer
    canonical = False


def requests_in(data):
    """The whole requests that a client's bytes begin with, and what is wrong behind them, if anything."""
    found = []
    try:
        for request in Requests(canonical=False).feed(data):
            found.append(request)
    except Broken as broken:
        return found, str(broken)
    return found, None
