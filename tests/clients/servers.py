"""Servers that no package brings: gRPC calls, WebSockets that echo, and an application that takes POSTs.

`servers.py calls|sockets|hooks FOLDER PORT`. Each writes what it was given to `origin/NAME` of the folder.
"""

import asyncio
import http.server
import itertools
import pathlib
import sys
from concurrent import futures

TAKEN = itertools.count()


def place(folder, path):
    """What came for a path lies in a folder of its own."""
    made = folder / path.strip("/").replace("/", "_")
    made.mkdir(exist_ok=True)
    return made


def calls(folder, port):
    import grpc

    def count(request, context):
        (place(folder, dict(context.invocation_metadata())["who"]) / f"{next(TAKEN):05}").write_bytes(request)
        return request

    def repeat(request, _context):
        for number in range(20):
            yield request + str(number).encode()

    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Echo", {
        "Count": grpc.unary_unary_rpc_method_handler(count),
        "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
    })])
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    server.start()
    server.wait_for_termination()


def sockets(folder, port):
    from websockets.asyncio.server import serve

    async def echo(socket):
        (place(folder, socket.request.path) / f"{next(TAKEN):05}").touch()
        async for message in socket:
            await socket.send(message)

    async def forever():
        async with serve(echo, "127.0.0.1", port):
            await asyncio.get_running_loop().create_future()

    asyncio.run(forever())


class Application(http.server.BaseHTTPRequestHandler):
    """Keeps each body."""

    protocol_version = "HTTP/1.1"

    def take(self):
        body = self.body()
        (place(self.server.folder, self.path) / f"{next(TAKEN):05}").write_bytes(body)
        self.answer(b"taken")

    do_POST = do_PUT = do_DELETE = do_PATCH = take

    def do_GET(self):
        self.answer(b"<!doctype html><title>Application</title><p>Here.")

    def do_OPTIONS(self):
        self.answer(b"", {"Allow": "OPTIONS, GET, HEAD, POST"})

    do_HEAD = do_GET

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def answer(self, body, fields=()):
        self.send_response(200)
        for name, value in {"Content-Type": "text/html", "Content-Length": len(body), **dict(fields)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def hooks(folder, port):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Application)
    server.daemon_threads = True
    server.folder = folder
    server.serve_forever()


if __name__ == "__main__":
    _, name, folder, port = sys.argv
    {"calls": calls, "sockets": sockets, "hooks": hooks}[name](pathlib.Path(folder) / "origin" / name, int(port))
