"""The site behind the gateways: pages, an upload that says what it got, a download that takes its time, and a
WebSocket that sends back what it gets. `origin.py PORT`
"""

import base64
import hashlib
import http.server
import sys
import time

# RFC 6455 section 1.3.
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
DOWNLOAD, DOWNLOAD_SECS, PIECES = 1 << 20, 6, 60


def accept(key):
    return base64.b64encode(hashlib.sha1(key.encode() + MAGIC).digest()).decode()


class Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path == "/download":
            self.download()
        elif self.headers.get("Upgrade", "").lower() == "websocket":
            self.converse()
        else:
            self.page(f"<!doctype html><title>Page</title><p>{self.path}</p>".encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.page(hashlib.sha256(body).hexdigest().encode())

    def head(self, status, **fields):
        self.send_response(status)
        self.send_header("X-Origin", "site")
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def page(self, body):
        self.head(200, Content_Type="text/html", Content_Length=len(body))
        self.wfile.write(body)

    def download(self):
        self.head(200, Content_Type="application/octet-stream", Content_Length=DOWNLOAD)
        for _ in range(PIECES):
            self.wfile.write(bytes(DOWNLOAD // PIECES))
            time.sleep(DOWNLOAD_SECS / PIECES)
        self.wfile.write(bytes(DOWNLOAD % PIECES))

    def converse(self):
        """Small frames of a client alone: masked, and less than 126 bytes."""
        self.head(101, Upgrade="websocket", Connection="Upgrade",
                  Sec_WebSocket_Accept=accept(self.headers["Sec-WebSocket-Key"]))
        self.close_connection = True
        while len(frame := self.rfile.read(2)) == 2:
            length = frame[1] & 0x7F
            mask, data = self.rfile.read(4), self.rfile.read(length)
            self.wfile.write(bytes([frame[0], length]) + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)))


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024

    def handle_error(self, *_):
        """A client that left is nothing to tell."""


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Site).serve_forever()
