"""What stands for a run: Redis, the site, a sidecar, and two gateways that share what they decide."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE.parent / "clients"), str(HERE.parent / "hostile")]
from person import FIELDS  # noqa: E402
from stage import ROOT, program  # noqa: E402

HOST = "shop.test"
REDIS, SITE, SIDECAR_ADMIN = 6379, 9100, 9182
PATIENCE = 20
GATEWAY = """
[server]
threads = 2
data_dir = "data"
models_dir = "{program}/models"
shutdown_grace_secs = 10
[admin]
address = "127.0.0.1:{admin}"
[access_log]
file = "off"
[client_address]
trusted_proxies = ["127.0.0.1"]
[[listener]]
address = "127.0.0.1:{port}"
[[listener]]
address = "127.0.0.1:{tls_port}"
tls = true
[[certificate]]
hosts = ["*"]
chain_file = "../chain.pem"
key_file = "../key.pem"
[[upstream]]
name = "o"
servers = [{{ address = "127.0.0.1:9100" }}]
[[site]]
name = "shop"
hosts = ["shop.test"]
upstream = "o"
pipeline = "p"
[[site]]
name = "other"
hosts = ["other.test"]
upstream = "o"
pipeline = "p"
[[pipeline]]
name = "p"
[pipeline.throttle]
requests = 1
per_secs = 3600
burst = 1
parts = 1
[[pipeline.filter]]
name = "known"
blocklist = {{}}
{filters}
[[pipeline.filter]]
name = "limit"
rate_limit = {{ key = "client", requests = 100, per_secs = 3600, burst = 120 }}
when = {{ paths = ["/limit"] }}
[[pipeline.filter]]
name = "shape"
heuristics = {{}}
[[pipeline.filter]]
name = "second_opinion"
escalate = {{ score = [0.3, 1.0] }}
when = {{ paths = ["/case"] }}
"""
# A filter whose offences lead to each action.
OFFENCES = """
[[pipeline.filter]]
name = "knock_{action}"
rate_limit = {{ key = "client", requests = 1, per_secs = 3600 }}
decide = {{ after = 4, within_secs = 60, for_secs = 3600, action = "{action}" }}
when = {{ paths = ["/knock/{action}"] }}
"""
ACTIONS = ("deny", "tarpit", "throttle")
# What both are connected to; `store` is one of the two below.
CONNECTED = """
[store]
{store}
predecessor_url = "redis://127.0.0.1:6379/2"
[escalation]
address = "http://127.0.0.1:9181"
token_file = "../sidecar/data/sidecar.token"
gateway = "{name}"
[[feed]]
name = "drop"
file = "../drop.txt"
"""
SHARED, ALONE = 'kind = "redis"\nurl = "redis://127.0.0.1:6379"', 'kind = "memory"'
SIDECAR_FILE = """
[server]
address = "127.0.0.1:9181"
data_dir = "data"
[admin]
address = "127.0.0.1:9182"
[ladder]
alert = 0.5
throttle = 0.5
tarpit = {tarpit}
deny = {deny}
"""
SCANNER = ("User-Agent: Mozilla/5.0 zgrab/0.x", "Accept: */*")


class Failure(Exception):
    """What does not let the run go on."""


def until(what, ready):
    """Polls until `ready` gives something true, which is returned."""
    deadline = time.monotonic() + PATIENCE
    while not (found := ready()):
        if time.monotonic() > deadline:
            raise Failure(f"waited in vain for {what}")
        time.sleep(0.05)
    return found


class Commands:
    """The commands of one version, with its models."""

    def __init__(self, name, folder, models):
        self.name, self.folder, self.models = name, folder, models

    @classmethod
    def old(cls, folder):
        runtime = folder / "models/runtime"
        if not runtime.exists():
            runtime.symlink_to(ROOT / "models/runtime")
        return cls("old", folder, folder / "models")

    @classmethod
    def new(cls):
        return cls("new", pathlib.Path(program()).parent, pathlib.Path(os.environ.get("THORNWALL_MODELS", ROOT / "models")))


class Process:
    """A process in a folder of its own, started from a place into which versions are put."""

    # Variables of all of them besides those of the run.
    environment = {}  # noqa: RUF012  # changed as a whole alone

    def __init__(self, stage, name, command):
        self.stage, self.name, self.command = stage, name, command
        self.folder = stage.folder / name
        self.folder.mkdir(exist_ok=True)
        self.place = self.folder / "program"
        self.place.mkdir(exist_ok=True)
        self.config = self.folder / "t.toml"
        self.process = self.version = None

    def put(self, version):
        """Puts a version in the place of another one, as a package does."""
        fresh = self.place / "fresh"
        shutil.copy2(version.folder / self.command, fresh)
        fresh.replace(self.place / self.command)
        models = self.place / "fresh.models"
        models.symlink_to(version.models)
        models.replace(self.place / "models")
        self.version = version

    def start(self, version, ready):
        self.put(version)
        command = [self.place / self.command, "run", "-c", self.config]
        self.process = self.stage.start(command, self.name, env={**os.environ, **self.environment})
        until(f"{self.name}, {version.name}:\n{self.stage.said()}", ready)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(PATIENCE):
            raise Failure(f"{self.name} ended with {self.process.returncode}")

    def run(self, *words, version=None):
        """What a command prints; a version's own, or the one in place."""
        folder = version.folder if version else self.place
        done = subprocess.run([folder / self.command, *words, "-c", self.config], cwd=self.folder,
                              capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"{self.command} {' '.join(words)}: {done.returncode} {done.stdout}{done.stderr}")
        return done.stdout


class Gateway(Process):
    def __init__(self, stage, name, number):
        super().__init__(stage, name, "thornwall")
        self.port, self.tls_port, self.admin = 8080 + number, 8443 + number, 9190 + number
        self.configure(SHARED)

    def configure(self, store):
        filters = "".join(OFFENCES.format(action=action) for action in ACTIONS)
        text = GATEWAY.format(
            program=self.place, admin=self.admin, port=self.port, tls_port=self.tls_port, filters=filters)
        self.config.write_text(text + CONNECTED.format(store=store, name=self.name))

    def serve(self, version):
        self.start(version, lambda: answers(self.admin, "/ready"))

    def in_step(self):
        """Whether it is alike with the shared store, and has met the other gateway and the sidecar."""
        store = self.status()["store"]
        shared = store["shared"]
        is_alike = shared["state"] == "in step" and not shared["unsent"] and shared["resyncs"]
        return is_alike and store["limits"]["gateways"] == 2 and self.metric("thornwall_escalation_connected") == 1

    def status(self):
        return json.loads(self.run("status", "--json"))

    def metric(self, name):
        """The sum of a metric over its labels."""
        found = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", answers(self.admin, "/metrics"), re.MULTILINE)
        return sum(map(float, found))

    def secrets(self):
        """The keys and tokens in its data_dir."""
        data = self.folder / "data"
        return {path.name: path.read_bytes() for path in data.iterdir() if path.suffix in (".key", ".token")}

    def decisions(self):
        listed = json.loads(self.run("decisions", "--json", "--limit", "1000"))["decisions"]
        return {(one["subject"], one["scope"]): one for one in listed}

    def decision(self, subject):
        """What is decided about a client, wherever it holds."""
        return next((one for (about, _), one in self.decisions().items() if about == subject), None)

    def wait_for_decision(self, subject):
        return until(f"a decision about {subject} at {self.name}", lambda: self.decision(subject))

    def order(self, *words):
        self.run(*words)

    def upgrade(self, version):
        """Puts a version in the place of the running one under its clients' feet; how long that took."""
        self.put(version)
        began = time.monotonic()
        said = self.run("upgrade")
        took = time.monotonic() - began
        before = self.process
        self.process = Successor(int(said.split()[-1]))
        before.wait(PATIENCE)
        return took

    def ask(self, client, path="/", host=HOST, fields=FIELDS):
        """What becomes of a request: served, denied, throttled, held, or a status."""
        lines = [f"Host: {host}", f"X-Forwarded-For: {client}", *fields]
        lines = [line for line in lines if not line.startswith("Connection:")]
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as line, line.makefile("rb") as reader:
            line.sendall((f"GET {path} HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\nConnection: close\r\n\r\n").encode())
            status, head = reader.readline().split()[1:2], b""
            while (more := reader.readline()) not in (b"\r\n", b""):
                head += more.lower()
        if status == [b"200"]:
            return "served" if b"x-origin:" in head else "held"
        return {b"403": "denied", b"429": "throttled"}.get(status[0], status[0].decode())

    def treatment(self, decision):
        """How a client is treated whom a decision is about, where it holds and elsewhere."""
        client = decision["subject"].split("/")[0]
        asked = [self.ask(client) for _ in range(4 if decision["action"] == "throttle" else 1)]
        here = next((one for one in asked if one != "served"), "served")
        return here, self.ask(client, host="other.test") if decision["scope"] else None


class Successor:
    """A process that an upgrade left behind: nobody's child, but ours, who are the first one here."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def send_signal(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout):
        def ended():
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            return self.returncode is not None

        until("the end of a gateway", ended)
        return self.returncode


class Sidecar(Process):
    def __init__(self, stage):
        super().__init__(stage, "sidecar", "thornwall-sidecar")
        self.configure("deny")

    def configure(self, action):
        """Leads cases to this action."""
        steps = {"deny": (0.5, 0.5), "tarpit": (0.5, 1.0), "throttle": (1.0, 1.0)}[action]
        self.config.write_text(SIDECAR_FILE.format(tarpit=steps[0], deny=steps[1]))
        if self.process:
            self.process.send_signal(signal.SIGHUP)

    def serve(self, version):
        self.start(version, lambda: answers(SIDECAR_ADMIN, "/ready"))

    def cases(self, version):
        """Its history as a version exports it."""
        out = self.folder / "cases.jsonl"
        out.unlink(missing_ok=True)
        self.run("export", "--format", "training", "--addresses", "--out", out, version=version)
        return sorted(out.read_text().splitlines())


def answers(port, path):
    """The body of a 200, or nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as line:
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            with line.makefile("rb") as reader:
                head, _, body = reader.read().partition(b"\r\n\r\n")
    except OSError:
        return ""
    return body.decode() or "yes" if b" 200 " in head.split(b"\r\n")[0] else ""


def redis(*words, database=0):
    done = subprocess.run(["redis-cli", "-p", str(REDIS), "-n", str(database), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()
