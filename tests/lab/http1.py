"""Reads HTTP/1.1 messages out of a byte stream: heads as they were sent, and where each message ends.

A reader passes every byte on: `feed` answers the events that the bytes complete, in order, and keeps
what is not decided yet. It changes nothing, so that a tee of the stream stays the stream.
"""

import dataclasses

LARGEST_HEAD = 256 * 1024


@dataclasses.dataclass
class Head:
    """A message's first line and header fields, in the order and spelling that they were sent in."""

    first: str
    headers: list
    raw: bytes

    def get(self, name, default=""):
        return next((value for field, value in self.headers if field.lower() == name), default)


@dataclasses.dataclass
class Body:
    """Bytes that belong to a message's body, framing included."""

    raw: bytes


class End:
    """The message is complete."""


class Reader:
    """An incremental reader of one direction of one connection."""

    def __init__(self, requests_asked=None):
        """`requests_asked` makes it a reader of responses: the queue of methods not answered yet."""
        self.asked = requests_asked
        self.pending = b""
        self.state = self.read_head
        self.left = 0
        self.broken = False

    def feed(self, data):
        self.pending += data
        events = []
        while self.pending and not self.broken and self.state(events):
            pass
        if self.broken and self.pending:
            events.append(Body(self.take(len(self.pending))))
        return events

    def take(self, count):
        taken, self.pending = self.pending[:count], self.pending[count:]
        return taken

    def read_head(self, events):
        end = self.pending.find(b"\r\n\r\n")
        self.broken = not self.pending[:1].isalpha() or (end < 0 and len(self.pending) > LARGEST_HEAD)
        if self.broken or end < 0:
            return False
        raw = self.take(end + 4)
        lines = raw[:-4].decode("latin-1").split("\r\n")
        fields = [line.partition(":") for line in lines[1:]]
        head = Head(lines[0], [[name, value.strip(" \t")] for name, _, value in fields], raw)
        events.append(head)
        self.frame(head, events)
        return True

    def frame(self, head, events):
        """How the body that follows `head` ends (RFC 9112 section 6.3)."""
        length = head.get("content-length")
        chunked = "chunked" in head.get("transfer-encoding").lower()
        if self.asked is None:
            bodiless = not chunked and length in ("", "0")
            until_close = False
        else:
            status = head.first.split(" ")[1]
            if status.startswith("1") and status != "101":
                return
            method = self.asked.pop(0) if self.asked else "GET"
            bodiless = method == "HEAD" or status in ("204", "304") or (not chunked and length == "0")
            until_close = not chunked and length == ""
        if bodiless:
            events.append(End())
        elif chunked:
            self.state = self.read_chunk_size
        elif until_close:
            self.state = self.read_rest
        elif length.isdigit():
            self.left, self.state = int(length), self.read_length
        else:
            self.broken = True

    def read_length(self, events):
        part = self.take(self.left)
        self.left -= len(part)
        events.append(Body(part))
        if self.left == 0:
            events.append(End())
            self.state = self.read_head
        return True

    def read_rest(self, events):
        events.append(Body(self.take(len(self.pending))))
        return True

    def read_chunk_size(self, events):
        end = self.pending.find(b"\r\n")
        if end < 0:
            return False
        line = self.take(end + 2)
        events.append(Body(line))
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            self.broken = True
            return False
        self.left = size + 2
        self.state = self.read_chunk if size else self.read_trailer
        return True

    def read_chunk(self, events):
        part = self.take(self.left)
        self.left -= len(part)
        events.append(Body(part))
        if self.left == 0:
            self.state = self.read_chunk_size
        return True

    def read_trailer(self, events):
        end = self.pending.find(b"\r\n")
        if end < 0:
            return False
        line = self.take(end + 2)
        events.append(Body(line))
        if line == b"\r\n":
            events.append(End())
            self.state = self.read_head
        return True
