"""The planes beside requests (tables/planes.toml): each goes on answering those whom it is for, and so does the site."""

import asyncio
import contextlib
import pathlib
import re
import selectors
import socket
import struct
import threading
import time

import gateway
import origin
from compression import block
from cost import Cost
from frames import DATA, END_HEADERS, HEADERS, Client, Closed, Late, frame, window
from kinds.floods import warm
from person import Person
from result import Result
from stage import program

ADMIN, SIDECAR, REDIS = 9180, 9181, 6399
PATIENCE = 10
FILLED = re.compile(r"\{(.*?)([:*])(\d+)\}", re.DOTALL)
SIDECAR_CONFIG = f"""
[server]
address = "127.0.0.1:{SIDECAR}"
data_dir = "data"
[admin]
address = "127.0.0.1:9182"
"""
REDIS_CONFIG = f'[store]\nkind = "redis"\nurl = "redis://127.0.0.1:{REDIS}/0"\n'
# How long whatever answers as Redis is listened to.
LISTENS = 0.5


def text(word):
    return word.encode("latin-1")


def ask(raw, port=ADMIN, timeout=PATIENCE):
    """The status of an answer, and all of it; 0 where none comes."""
    got = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout) as sock:
        sock.sendall(raw)
        while piece := sock.recv(65536):
            got += piece
    return (int(got[9:12]) if got.startswith(b"HTTP/1.") else 0), got


async def run(table, scene):
    result = Result()
    async with origin.Origin(gateway.ORIGIN):
        await asyncio.to_thread(admin, table.data["admin"], scene, result)
        await asyncio.to_thread(sidecar, table.data["sidecar"], scene, result)
        await asyncio.to_thread(redis, table.data["redis"], scene, result)
    return result


# ---- the operator's listener
def admin(data, scene, result):
    with gateway.thornwall(scene.stage, limits="") as server:
        warm(scene.stage)
        token = (server.folder / "data/admin.token").read_text().strip()
        answers = [spelled(data, token, result), wrong(data, token, result)]
        result.require(not any(token.encode() in got for got in answers), "a refusal shows the token")
        for crowd in data["crowds"]:
            if not scene.smoke:
                stand(crowd, token, server, data["budget"], scene, result)
        log = (scene.stage.folder / f"{server.name}.log").read_text(errors="replace")
        result.require(token not in log, "the log shows the token")


def spelled(data, token, result):
    """Tokens and hosts by their spelling."""
    filled = {"token": token, "short": token[:-1], "upper": token.swapcase(), "viewerless": "0" * len(token), "long": token * 500}
    said = b""

    def check(host, authorization, wanted):
        nonlocal said
        for name, value in filled.items():
            authorization = authorization.replace("{" + name + "}", value)
        fields = f"Host: {host}\r\n" + (f"Authorization: {authorization}\r\n" if authorization else "")
        status, got = ask(text(f"GET /status HTTP/1.1\r\n{fields}Connection: close\r\n\r\n"))
        said += got if wanted != 200 else b""
        result.cases += 1
        good = status == 200 if wanted == 200 else status in (400, 401, 421, 431)
        result.require(good, f"admin: Host {host!r}, Authorization {authorization[:40]!r}: {status}")

    for word in data["let_in"]:
        check("localhost", word, 200)
    for word in data["refused"]:
        check("localhost", word, 401)
    for host in data["hosts_let_in"]:
        check(host, "Bearer {token}", 200)
    for host in data["hosts_refused"]:
        check(host, "Bearer {token}", 421)
    return said


def wrong(data, token, result):
    """What an operator's program may get wrong: refused, and nothing is decided."""
    said = b""
    for line, body, wanted in data["requests"]:
        kind = "" if body == "not json" else "Content-Type: application/json\r\n"
        status, got = ask(text(
            f"{line}\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{kind}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"))
        said += got
        result.cases += 1
        result.require(status == wanted, f"admin: {line} {body[:40]}: {status}, wanted {wanted}")
    _, listed = ask(text(f"GET /decisions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"))
    result.require(b'"decisions":[]' in listed, "admin: something was decided")
    return said


def stand(crowd, token, server, budget, scene, result):
    """A crowd of connections: those for whom the port is are answered, it gets smaller by itself, and costs little."""
    with Cost(server) as cost, Person(scene.stage) as person:
        # A person has to be there before they may be gone.
        time.sleep(1)
        left, answered = hold(ADMIN, crowd["count"], text(crowd["send"].replace("{token}", token)), crowd["secs"],
                              lambda: ask(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", timeout=3)[0] == 200)
    result.cases += 1
    what = f"admin: {crowd['count']} {crowd['name']}"
    result.note(f"{crowd['name']}: {cost}")
    result.require(not left, f"{what}: {left} stay for {crowd['secs']} s")
    result.require(answered, f"{what}: /ready is not answered meanwhile")
    for line in cost.over(budget):
        result.fault(f"{what}: {line}")
    result.require(not person.failed, f"{what}: person beside: {person.failed} of {person.asked} failed: {person.why}")


def hold(port, count, piece, secs, good):
    """Opens connections, says a piece on each, and waits until they are ended. How many are not, and whether `good`
    held once while they stood."""
    choice, there = selectors.DefaultSelector(), set()
    until = time.monotonic() + secs
    for number in range(count):
        sock = socket.socket()
        sock.settimeout(1)
        try:
            sock.bind((f"127.70.{number // 250}.7", 0))
            sock.connect(("127.0.0.1", port))
            if piece:
                sock.send(piece)
        except OSError:
            # Refused is ended as well.
            sock.close()
            continue
        sock.settimeout(0)
        there.add(sock)
        choice.register(sock, selectors.EVENT_READ)
    held = False
    while there and time.monotonic() < until:
        held = held or good()
        for key, _ in choice.select(0.3):
            sock = key.fileobj
            with contextlib.suppress(BlockingIOError):
                try:
                    if sock.recv(4096):
                        continue
                except ConnectionError:
                    pass
                choice.unregister(sock)
                there.discard(sock)
                sock.close()
    left = len(there)
    for sock in there:
        sock.close()
    return left, held or good()


# ---- the sidecar's port
def sidecar(data, scene, result):
    server = gateway.Server(scene.stage, "sidecar")
    config = server.folder / "sidecar.toml"
    config.write_text(SIDECAR_CONFIG)
    command = pathlib.Path(program()).with_name("thornwall-sidecar")
    server.launch([command, "run", "-c", config], SIDECAR)
    try:
        with Cost(server) as cost:
            announce(data["announced"], result)
        for line in cost.over(data["budget"]):
            result.fault(f"sidecar: calls that announce more than they send: {line}")
        result.note(f"announced calls: {cost}")
        silent = data["silent"]
        if not scene.smoke:
            with Cost(server) as cost:
                left, _ = hold(SIDECAR, silent["count"], b"", silent["secs"], lambda: True)
            result.require(not left, f"sidecar: {left} of {silent['count']} silent connections stay for {silent['secs']} s")
            for line in cost.over(data["budget"]):
                result.fault(f"sidecar: silent connections: {line}")
            result.note(f"silent connections: {cost}")
        result.require(call(b"Bearer nobody") not in (0, "closed", "late"), "sidecar: a call is not answered afterwards")
        result.cases += 3
    finally:
        server.stop()


def fields(authorization):
    path = b"/thornwall.escalation.v1.Escalation/Assess"
    return [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"localhost"), (b":path", path), (b"content-type", b"application/grpc"),
            (b"te", b"trailers"), (b"authorization", authorization)]


def announce(data, result):
    """Messages of which a length is announced and ten bytes come, without a token that counts."""
    message = b"\0" + struct.pack(">I", data["bytes"]) + b"0123456789"
    told, clients = [], []
    for _ in range(data["connections"]):
        try:
            client = Client(SIDECAR, tls=False, pairs=((4, 1 << 20),))
            client.send(window(0, 1 << 24))
            clients.append(client)
            head = block(fields(b"Bearer nobody"))
            for first in range(1, 2 * data["calls"], 200):
                client.send(b"".join(
                    frame(HEADERS, END_HEADERS, stream, head) + frame(DATA, 0, stream, message) for stream in range(first, first + 200, 2)))
        except (Closed, Late, OSError) as ended:
            told.append(ended)
    time.sleep(1)
    for client in clients:
        client.close()
    result.require(clients, "sidecar: nobody listens")


def call(authorization):
    try:
        with Client(SIDECAR, tls=False) as client:
            client.send(frame(HEADERS, END_HEADERS, 1, block(fields(authorization))) + frame(DATA, 1, 1, bytes(5)))
            return client.answer(1)[0]
    except (Closed, OSError):
        return "closed"


# ---- whatever answers in Redis' place
class Parrot:
    """Says the same to whatever it is asked."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", REDIS), backlog=64)
        self.answer, self.there, self.taken = b"", set(), 0
        threading.Thread(target=self._serve, daemon=True).start()

    def say(self, answer):
        """From now on, on new connections."""
        self.answer, self.taken = answer, 0
        for sock in list(self.there):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.taken += 1
            self.there.add(sock)
            threading.Thread(target=self._talk, args=(sock, self.answer), daemon=True).start()

    def _talk(self, sock, answer):
        with sock, contextlib.suppress(OSError):
            while sock.recv(65536):
                sock.sendall(answer)
        self.there.discard(sock)

    def close(self):
        # What waits in accept() is woken (shutdown(2)).
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.say(b"")


def filled(answer):
    def many(found):
        what, how, count = found.groups()
        return what * int(count)
    return text(FILLED.sub(many, answer))


def redis(data, scene, result):
    rows = data["answers"][1::8] if scene.smoke else data["answers"]
    parrot = Parrot()
    server = None
    try:
        for name, answer in rows:
            parrot.say(filled(answer))
            result.cases += 1
            # The gateway comes again by itself, later each time; a new one comes at once.
            with gateway.thornwall(scene.stage, limits=REDIS_CONFIG, name="shared") as server, Cost(server) as cost:
                until = time.monotonic() + PATIENCE
                while not parrot.taken and server.alive and time.monotonic() < until:
                    time.sleep(0.02)
                result.require(parrot.taken or not server.alive, f"redis: {name}: nobody asks")
                time.sleep(LISTENS)
                alive = server.alive
                served = alive and ask(b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")[0] == 200
                site = alive and ask(b"GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n", 8080)[0] == 200
                result.require(served and site, f"redis: {name}: the gateway has ended" if not alive else f"redis: {name}: nothing is served")
            if alive:
                for line in cost.over(data["budget"]):
                    result.fault(f"redis: {name}: {line}")
    except SystemExit as broken:
        result.fault(f"redis: {name}: the gateway does not start: {str(broken)[:200]!r}")
    finally:
        parrot.close()
    log = (scene.stage.folder / "shared.log").read_bytes()
    result.require(b"\x1b" not in log and b"\x07" not in log, "redis: its control bytes reach the log")
