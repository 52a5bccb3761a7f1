"""What happens to the process itself (tables/faults.toml): nothing that was acknowledged is lost, and nobody notices a reload."""

import asyncio
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import threading
import time

import gateway
import origin
from cost import Cost
from person import Person
from result import Result

ROOT = pathlib.Path(__file__).parents[3]
ADMIN, PATIENCE, SEED = 9180, 20, 9
# A file is read once nobody has written to it for half a second.
QUIET = 0.5
OPEN = "Host: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"


async def run(table, scene):
    result = Result()
    async with origin.Origin(gateway.ORIGIN) as behind:
        for part in (kills, reloads, damaged) if scene.smoke else (kills, reloads, starting, damaged, cuts):
            await asyncio.to_thread(part, table.data, scene, result)
        for line in behind.faults:
            # Whom a kill cuts off has not sent all.
            if "a head without end" not in line:
                result.fault(line)
    return result


def token_of(server):
    return (server.folder / "data/admin.token").read_text().strip()


def ask(line, token, body=""):
    """The body of what the operator's listener answers; None where it does not."""
    got = b""
    fields = OPEN.replace("{token}", token) + (f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else "")
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", ADMIN), PATIENCE) as sock:
        sock.sendall(f"{line} HTTP/1.1\r\n{fields}\r\n{body}".encode())
        while piece := sock.recv(65536):
            got += piece
    head, _, rest = got.partition(b"\r\n\r\n")
    return rest if head.startswith(b"HTTP/1.1 200") else None


# ---- kills
def kills(data, scene, result):
    """What was acknowledged before each kill is there after the last."""
    plan = data["kills"]
    rounds = 2 if scene.smoke else plan["rounds"]
    acknowledged = set()
    for turn in range(rounds):
        with gateway.thornwall(scene.stage, name="killed") as server:
            missing = acknowledged - decided(token_of(server))
            result.require(not missing, f"kill {turn}: {len(missing)} of {len(acknowledged)} decisions are lost: {sorted(missing)[:3]}")
            acknowledged |= decide(turn, plan, server)
            server.process.wait(PATIENCE)
    with gateway.thornwall(scene.stage, name="killed") as server:
        missing = acknowledged - decided(token_of(server))
        result.require(not missing, f"after {rounds} kills {len(missing)} of {len(acknowledged)} decisions are lost")
    result.cases += rounds
    result.note(f"{rounds} kills, {len(acknowledged)} acknowledged, {len(missing)} lost")


def decide(turn, plan, server):
    """Decides until the process is killed; what was acknowledged."""
    token, done, enough = token_of(server), [], threading.Event()

    def keep_deciding(asker):
        for number in range(10000):
            subject = f"10.{turn}.{asker * 60 + number // 250}.{number % 250}"
            if ask("POST /decisions", token, json.dumps({"subject": subject, "for_secs": 3600})) is None:
                return
            done.append(subject)
            if len(done) >= plan["before"] + turn:
                enough.set()

    askers = [threading.Thread(target=keep_deciding, args=(asker,)) for asker in range(plan["askers"])]
    for asker in askers:
        asker.start()
    enough.wait(PATIENCE)
    # Another moment of the writes each time.
    time.sleep(turn * 0.0017)
    os.kill(server.process.pid, signal.SIGKILL)
    for asker in askers:
        asker.join()
    return set(done)


def decided(token):
    found, after = set(), None
    while True:
        page = json.loads(ask(f"GET /decisions?limit=1000{'' if after is None else f'&after={after}'}", token) or "{}")
        found |= {one["subject"].removesuffix("/32") for one in page.get("decisions", ())}
        after = page.get("next")
        if after is None:
            return found


# ---- reloads
def reloads(data, scene, result):
    plan = data["reloads"]
    count = 10 if scene.smoke else plan["count"]
    with gateway.thornwall(scene.stage, limits="", name="reloaded") as server:
        over, failed, sent = threading.Event(), [], [0]
        load = [threading.Thread(target=keep_asking, args=(over, failed, sent), daemon=True) for _ in range(plan["at_once"])]
        wait_until_ready()
        with Person(scene.stage) as person, Cost(server) as cost:
            for one in load:
                one.start()
            try:
                for _ in range(count):
                    os.kill(server.process.pid, signal.SIGHUP)
                    time.sleep(plan["every_ms"] / 1000)
                time.sleep(2 * QUIET)
            finally:
                over.set()
            for one in load:
                one.join()
        log = (scene.stage.folder / "reloaded.log").read_text(errors="replace")
        result.require(server.alive, "the gateway has ended")
        result.require("configuration reloaded" in log, "nothing was reloaded")
        result.require(not failed, f"reloads under load: {len(failed)} of {sent[0]} requests failed: {failed[:3]}")
        result.require(not person.failed, f"reloads: person beside: {person.failed} of {person.asked} failed: {person.why}")
        for line in cost.over(data["budget"]):
            result.fault(f"reloads: {line}")
        result.cases += count
        result.note(f"{count} SIGHUP, {sent[0]} requests, {len(failed)} failed, {person}")


def wait_until_ready():
    """The port is open before the process hears signals."""
    until = time.monotonic() + PATIENCE
    while ask("GET /ready", "") is None and time.monotonic() < until:
        time.sleep(0.05)


def starting(data, scene, result):
    """Whoever tells a gateway to reload as it starts ends it, or does not."""
    ended = 0
    for name in ("SIGHUP", "SIGUSR1"):
        with gateway.thornwall(scene.stage, limits="", name="starting") as server:
            os.kill(server.process.pid, getattr(signal, name))
            time.sleep(QUIET)
            ended += not server.alive
        result.cases += 1
    result.require(not ended, f"{ended} of 2 signals end a gateway whose port is open")


def keep_asking(over, failed, sent):
    sock = None
    while not over.is_set():
        try:
            if sock is None:
                sock = socket.create_connection(("127.0.0.1", 8080), PATIENCE)
            sock.sendall(b"GET /load HTTP/1.1\r\nHost: site.test\r\n\r\n")
            got = b""
            while b"\r\n\r\n/load" not in got:
                piece = sock.recv(65536)
                if not piece:
                    raise OSError(f"ended after {got[:40]!r}")
                got += piece
            sent[0] += 1
            # A thousand requests are all that a connection has (limits.max_requests_per_connection).
            if b"connection: close" in got.lower():
                sock.close()
                sock = None
        except OSError as failure:
            failed.append(str(failure))
            sock = None


# ---- damaged decisions
def damaged(data, scene, result):
    plan, chance = data["damaged"], random.Random(SEED)
    with gateway.thornwall(scene.stage, name="damaged") as server:
        for number in range(50):
            ask("POST /decisions", token_of(server), json.dumps({"subject": f"10.0.0.{number}", "for_secs": 3600}))
    file = server.folder / "data/decisions.redb"
    good = file.read_bytes()
    kept = 0
    files = 1 if scene.smoke else plan["files"]
    for turn in range(files):
        bad = bytearray(good)
        if turn == 0:
            bad = bad[:len(bad) // 2]
        for _ in range(chance.randint(1, plan["most_bits"])):
            bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        file.write_bytes(bad)
        try:
            with gateway.thornwall(scene.stage, name="damaged") as server:
                time.sleep(0.1)
                found = decided(token_of(server))
                kept += len(found) == 50
                result.require(server.alive, f"damaged file {turn}: the gateway has ended")
                done = ask("POST /decisions", token_of(server), '{"subject":"10.9.9.9","for_secs":60}')
                result.require(done is not None, f"damaged file {turn}: nothing can be decided")
        except SystemExit as broken:
            result.fault(f"damaged file {turn}: the gateway does not start: {str(broken)[-300:]!r}")
    result.cases += files
    result.note(f"{files} damaged files, {kept} whole again, {files - kept} put aside")


# ---- cut configurations
def cuts(data, scene, result):
    """A configuration that is cut off is refused, or what it takes away is said; the gateway serves on."""
    lines = (ROOT / "etc/thornwall.toml").read_text().splitlines(keepends=True)
    step = data["cuts"]["step"]
    with gateway.thornwall(scene.stage, limits="") as server:
        file, log = server.folder / "thornwall.toml", scene.stage.folder / f"{server.name}.log"
        wait_until_ready()
        head = file.read_text().partition("[[upstream]]")[0]
        tail = "".join(lines[next(at for at, line in enumerate(lines) if line.startswith("[[upstream]]")):])
        tail = tail.replace("127.0.0.1:9000", "127.0.0.1:9100").replace('files = ["lists/deny.txt"]', "files = []")
        rows = tail.splitlines(keepends=True)
        taken = told = 0
        for end in range(0, len(rows), step):
            whole = reload(server, file, head + tail, log)
            result.require("configuration reloaded" in whole, f"the whole file is refused: {whole[-300:]}")
            said = reload(server, file, head + "".join(rows[:end]), log)
            result.cases += 1
            result.require(server.alive, f"cut at line {end}: the gateway has ended")
            if "configuration reloaded" not in said:
                continue
            taken += 1
            # Without any pipeline the one that is built in stands, which is the same.
            has_own = any(line.startswith("[[pipeline]]") for line in rows[:end])
            loses = has_own and sum(line.startswith("[[pipeline.filter]]") for line in rows[end:])
            warned = "takes protection away" in said
            told += warned
            result.require(warned or not loses, f"cut at line {end}: {loses} filters less, not a word")
        result.note(f"{len(range(0, len(rows), step))} cuts, {taken} taken over, {told} of them with a warning")


def reload(server, file, text, log):
    """Writes a configuration and reloads; what is said about it."""
    before = log.stat().st_size
    file.write_text(text)
    time.sleep(QUIET)
    os.kill(server.process.pid, signal.SIGHUP)
    until = time.monotonic() + 5
    while time.monotonic() < until and server.alive:
        said = log.read_bytes()[before:].decode(errors="replace")
        if "configuration reloaded" in said or "configuration not reloaded" in said:
            # Warnings come with it.
            time.sleep(0.1)
            return log.read_bytes()[before:].decode(errors="replace")
        time.sleep(0.05)
    return ""
