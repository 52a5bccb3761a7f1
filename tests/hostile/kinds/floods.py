"""Floods, each with a person beside it and a budget (tables/floods_*.toml): the person is served in time, and what
the attack costs the gateway stays below what its row says.
"""

import asyncio
import collections
import json
import pathlib
import subprocess
import sys
import time

import gateway
from cost import Cost
from frames import get
from person import Person
from result import Result
from stage import program

ATTACK = pathlib.Path(__file__).parents[1] / "attack.py"
WORKERS = ATTACK.with_name("workers.py")
# What an attack is, of all that a row has.
AIM = ("how", "secs", "count", "addresses", "port", "host", "size", "most_bytes", "unread", "http2")
# Of a person's requests, 99 of 100 within that. A debug build does the same with several times the work.
P99_MS = 1000 if "/debug/" in program() else 250
# A busy machine is slow once, a gateway each time.
TRIES = 3
TLS = 8443
# How long what an attack leaves behind has to go.
SETTLE = 0.2
ORIGIN = """
    access_log off;
    client_max_body_size 0;
    server {
        listen 127.0.0.1:9300 backlog=4096;
        location / { default_type text/html; return 200 "<!doctype html><title>Page</title>"; }
        location = /big { root .; }
        location = /upload { proxy_pass http://127.0.0.1:9301; proxy_http_version 1.1; }
    }
    server { listen 127.0.0.1:9301; location / { return 200 "taken $http_content_length"; } }
"""
# The same bounds of bodies as ours: nothing is kept back.
PROXY = gateway.PROXY.replace("127.0.0.1:9100", "127.0.0.1:9300") + "client_max_body_size 0; proxy_request_buffering off;"
# The attacked site has no filters, so that nothing but the bounds themselves stands before it.
SITE = gateway.RAW.replace("127.0.0.1:9100", "127.0.0.1:9300").replace('hosts = ["*"]', 'hosts = ["*"]\nmax_body_bytes = 0')
# The person's site has an origin of eight workers, and is what is attacked.
FEW = "127.0.0.1:9400"
WORKER_COUNT = 8


async def run(table, scene):
    return await asyncio.to_thread(play, table, scene)


def play(table, scene):
    result = Result()
    rows = [row for row in table.data["flood"] if not scene.smoke or row.get("smoke")]
    behind = gateway.Server(scene.stage, "flooded")
    with open(behind.folder / "big", "wb") as file:
        file.truncate(64 << 20)
    shared, words = None, collections.Counter()
    with gateway.nginx(scene.stage, ORIGIN, (9300,), "flooded"):
        try:
            for row in rows:
                row["table"] = table.name
                own = "limits" in row or "workers" in row
                if not own and (shared is None or not shared.alive):
                    shared = gateway.thornwall(scene.stage, SITE, table.data.get("limits", ""))
                    scene.calm_ms = warm(scene.stage)
                if own and shared is not None:
                    shared.stop()
                    shared = None
                words[measure(row, shared, scene, result)] += 1
        finally:
            if shared is not None:
                shared.stop()
    result.cases = len(rows)
    result.note(", ".join(f"{count} {word}" for word, count in words.items()))
    if scene.beside:
        with gateway.nginx(scene.stage, ORIGIN, (9300,), "flooded"):
            result.beside = ", ".join(beside(row, scene) for row in rows if row.get("beside"))
    return result


def beside(row, scene):
    """What the same costs nginx."""
    with gateway.nginx(scene.stage, PROXY) as server:
        worker = gateway.Server(scene.stage, "nginx")
        worker.process = Worker(server.process.pid)
        before = worker.cpu_secs()
        said = subprocess.run([sys.executable, "-B", ATTACK, json.dumps({name: row[name] for name in AIM if name in row})],
                              stdout=subprocess.PIPE, text=True, check=True).stdout
        return f"{row['name']}: {json.loads(said)['served']} served, {worker.cpu_secs() - before:.2f} s CPU"


class Worker:
    """The process of nginx that serves."""

    def __init__(self, parent):
        children = pathlib.Path(f"/proc/{parent}/task/{parent}/children")
        while not (found := children.read_text().split()):
            time.sleep(0.05)
        self.pid = int(found[0])


def measure(row, server, scene, result):
    """One attack, again where only the person's pace was wrong; its line is shown as it is."""
    for turn in range(1, TRIES + 1):
        if server is None:
            with OwnGateway(row, scene) as other:
                told, slow, wrong = one(row, other, scene)
        else:
            told, slow, wrong = one(row, server, scene)
        if wrong or not slow or turn == TRIES:
            break
    known = row.get("known") if wrong or slow else None
    word = "known " if known else "FAILED" if wrong or slow else "held  "
    print(f"    {word} {row['name']}: {told}" + (f" ({known})" if known else ""), flush=True)
    for line in [] if known else wrong + slow:
        result.fault(f"{row['name']}: {line}")
    return word.strip()


def warm(stage):
    """What the first requests bring with them is no attack's; nor is how slow the machine is by itself."""
    with Person(stage) as person:
        time.sleep(0.7)
        for _ in range(8):
            get(TLS)
    return person.p99_ms


class OwnGateway:
    """A gateway for this row alone, and the origin of few workers where the row wants it."""

    def __init__(self, row, scene):
        self.row, self.scene, self.stage = row, scene, scene.stage

    def __enter__(self):
        self.origin, base = None, gateway.BASE
        if "workers" in self.row:
            self.origin = gateway.Server(self.stage, "workers").launch(
                [sys.executable, "-B", WORKERS, FEW.split(":")[1], WORKER_COUNT], int(FEW.split(":")[1]))
            gateway.BASE = base.replace("127.0.0.1:9200", FEW)
        try:
            self.server = gateway.thornwall(self.stage, SITE, self.row.get("limits", ""), "own")
        finally:
            gateway.BASE = base
        self.scene.calm_ms = warm(self.stage)
        return self.server

    def __exit__(self, *_):
        self.server.stop()
        if self.origin:
            self.origin.stop()


def one(row, server, scene):
    """What an attack came to, in words; what was too slow; what was wrong."""
    aim = {"http2": True, "port": 8443} if "h2" in row["table"] else {}
    aim |= {name: row[name] for name in AIM if name in row}
    with Cost(server) as cost, Person(scene.stage) as person:
        time.sleep(row.get("lead", 0))
        attack = subprocess.Popen([sys.executable, "-B", ATTACK, json.dumps(aim)], stdout=subprocess.PIPE, text=True)
        try:
            said, _ = attack.communicate(timeout=aim.get("secs", 2) + 20)
            told = json.loads(said)
        except (subprocess.TimeoutExpired, ValueError):
            attack.kill()
            told = {"opened": 0, "ended": 0, "refused": 0, "bytes": 0, "served": 0}
    time.sleep(SETTLE)
    wrong = cost.over(row["budget"])
    if not told["opened"]:
        wrong.append("no connection was opened")
    if row.get("ends") and not told["ended"]:
        wrong.append("no connection was ended")
    if told["served"] < row.get("served", 0):
        wrong.append(f"{told['served']} were served of {row['served']}")
    if person.failed or not person.asked:
        wrong.append(f"person beside: {person.failed} of {person.asked} failed: {person.why}")
    most = row.get("p99_ms", P99_MS) + scene.calm_ms
    slow = [f"person beside: p99 {person.p99_ms:.0f} ms, at most {most:.0f}"] if person.p99_ms > most else []
    megabytes = told["bytes"] / 1e6
    words = f"{told['opened']} connections, {told['ended']} ended, {megabytes:.1f} MB; {cost}; {person}"
    return words, slow, wrong
