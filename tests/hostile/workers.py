"""An origin of few workers, as prefork servers and applications have them: each has one request at a time, reads all
of it, and answers a page. `workers.py PORT COUNT`; /status tells how many are busy.
"""

import itertools
import re
import socket
import sys
import threading

LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


def serve(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(60)
            try:
                one(connection)
            except (OSError, ValueError):
                pass


def one(connection):
    reader = connection.makefile("rb")
    lines = list(itertools.takewhile(lambda line: line not in (b"\r\n", b""), reader))
    if not lines:
        return
    head = b"".join(lines)
    path = lines[0].split(b" ")[1]
    length = LENGTH.search(head)
    if length:
        reader.read(int(length[1]))
    elif CHUNKED.search(head):
        while size := int(reader.readline().split(b";")[0], 16):
            reader.read(size + 2)
    if path == b"/big":
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\nConnection: close\r\n\r\n")
        for _ in range(1024):
            connection.sendall(bytes(65536))
        return
    body = b"<!doctype html><title>Page</title><p>%s</p>" % path
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))


def main(port, count):
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    for _ in range(count - 1):
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
    serve(listener)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
