"""HTTP/2 as raw frames (RFC 9113): a client that sends exactly what a case says and tells what came back.

Over TLS with ALPN `h2`, as the gateway has it, or in clear text by prior knowledge, as gRPC servers have it.
"""

import socket
import ssl
import struct
import time

import compression

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
KINDS = ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
         "CONTINUATION"]
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
CODES = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
         "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
         "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"]
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, PRIORITIZED = 0x4, 0x8, 0x20
FLAGS = {"ACK": ACK, "END_STREAM": END_STREAM, "END_HEADERS": END_HEADERS, "PADDED": PADDED, "PRIORITY": PRIORITIZED}
WHOLE = END_STREAM | END_HEADERS

# What a stock Chrome sends with a page over HTTP/2, behind the pseudo fields.
CHROME = [(name.encode(), value.encode()) for name, value in {
    "sec-ch-ua": '"Not)A;Brand";v="8", "Chromium";v="138", "Google Chrome";v="138"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Linux"',
    "upgrade-insecure-requests": "1",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "sec-fetch-site": "none",
    "sec-fetch-mode": "navigate",
    "sec-fetch-user": "?1",
    "sec-fetch-dest": "document",
    "accept-encoding": "gzip, deflate, br, zstd",
    "accept-language": "en-US,en;q=0.9",
}.items()]


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """Section 4.1. `length` is what is announced, where that is not the payload's."""
    return struct.pack(">IBBI", len(payload) if length is None else length, kind, flags, stream)[1:] + payload


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", key, value) for key, value in pairs))


def window(stream, by):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", by))


def reset(stream, code=8):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def pseudo(host, path=b"/", method=b"GET", scheme=b"https"):
    return [(b":method", method), (b":scheme", scheme), (b":authority", host), (b":path", path)]


def request(stream, fields, flags=WHOLE):
    return frame(HEADERS, flags, stream, compression.block(fields))


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_alpn_protocols(["h2"])
    return made


CONTEXT = context()


class Closed(Exception):
    """The other side has closed, or reset, the connection."""


class Late(Exception):
    """Nothing came in time."""


class Client:
    """One connection. `source` is the address that it comes from."""

    def __init__(self, port, name="t.example", tls=True, source="127.0.0.1", begin=True, pairs=(), small=False,
                 timeout=10.0, host="127.0.0.1"):
        raw = socket.socket()
        if small:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.bind((source, 0))
        raw.connect((host, port))
        self.socket = CONTEXT.wrap_socket(raw, server_hostname=name) if tls else raw
        self.rest, self.decoder = b"", compression.Decoder()
        self.head = []
        if begin:
            self.send(PREFACE + settings(*pairs))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        """Sends all of it, or raises Closed."""
        try:
            self.socket.sendall(data)
        except TimeoutError as error:
            raise Late from error
        except (OSError, ValueError) as error:
            raise Closed from error

    def _fill(self, count, until):
        while len(self.rest) < count:
            left = until - time.monotonic()
            if left <= 0:
                raise Late
            self.socket.settimeout(left)
            try:
                piece = self.socket.recv(65536)
            except (TimeoutError, ssl.SSLWantReadError) as error:
                raise Late from error
            except (OSError, ValueError) as error:
                raise Closed from error
            if not piece:
                raise Closed
            self.rest += piece

    def read(self, timeout=5.0):
        """The next frame: kind, flags, stream, payload."""
        until = time.monotonic() + timeout
        self._fill(9, until)
        length, kind, flags, stream = struct.unpack(">IBBI", b"\0" + self.rest[:9])
        self._fill(9 + length, until)
        payload, self.rest = self.rest[9:9 + length], self.rest[9 + length:]
        return kind, flags, stream & 0x7FFFFFFF, payload

    def fields(self, flags, payload):
        """The fields of a HEADERS frame."""
        if flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        return self.decoder.read(payload[5:] if flags & PRIORITIZED else payload)

    def answer(self, stream, timeout=5.0):
        """The status and body of what a stream is answered with; a code's name where it is reset, `GOAWAY …` where
        the connection is ended, `closed` or `late`."""
        status, body, until = 0, b"", time.monotonic() + timeout
        try:
            while True:
                kind, flags, on, payload = self.read(until - time.monotonic())
                if kind == SETTINGS and not flags & ACK:
                    self.send(frame(SETTINGS, ACK))
                elif kind == GOAWAY:
                    code = struct.unpack(">I", payload[4:8])[0]
                    if code or not status and struct.unpack(">I", payload[:4])[0] < stream:
                        return f"GOAWAY {code_name(code)}", body
                elif kind == HEADERS:
                    fields = self.fields(flags, payload)
                    if on == stream and status < 200:
                        status = int(dict(fields).get(b":status", 0))
                        self.head = fields
                elif kind == DATA:
                    body += payload if on == stream else b""
                elif kind == RST_STREAM and on == stream:
                    return (status or code_name(struct.unpack(">I", payload)[0])), body
                if on == stream and kind in (DATA, HEADERS) and flags & END_STREAM:
                    return status, body
        except Closed:
            return status or "closed", body
        except Late:
            return status or "late", body


def code_name(code):
    return CODES[code] if code < len(CODES) else hex(code)


def get(port, host=b"t.example", path=b"/", fields=CHROME, timeout=5.0, **more):
    """One request on a connection of its own: status and body."""
    try:
        with Client(port, timeout=timeout, **more) as client:
            client.send(request(1, pseudo(host, path) + list(fields)))
            return client.answer(1, timeout)
    except (Closed, OSError):
        return "closed", b""
