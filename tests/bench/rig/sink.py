"""The origin of large bodies: gives one, or takes one in and forgets it."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_BYTES = 100_000_000
PIECE_BYTES = 1 << 20
FAST = "/body"
# Here an upload is taken in at this pace.
SLOW = "/slow"
SLOW_BYTES_PER_SECOND = 50_000_000
_BODY = bytes(BODY_BYTES)


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        # What else is asked for is only to see whether somebody answers.
        body = _BODY if self.path in (FAST, SLOW) else b""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        left = int(self.headers["Content-Length"])
        piece = memoryview(bytearray(PIECE_BYTES))
        while left:
            took = self.rfile.readinto1(piece[: min(left, PIECE_BYTES)])
            if not took:
                self.close_connection = True
                return
            left -= took
            if self.path == SLOW:
                time.sleep(took / SLOW_BYTES_PER_SECOND)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A proxy that hangs up is its own affair, and shows in the transfer."""


@contextmanager
def running():
    """Gives the port."""
    with _Server(("127.0.0.1", 0), _Exchange) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
