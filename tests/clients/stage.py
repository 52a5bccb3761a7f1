"""Where programs meet the gateway: names, addresses, certificates, processes, and the gateway itself.

Everything here belongs to namespaces that `apart` made, so ports are fixed and the system's files can be
covered by our own. Each seat is a name in DNS's place with a network of its own: whoever connects to it
comes from an address that nobody else comes from, so that no program has another's limits.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import trustme

ROOT = pathlib.Path(__file__).resolve().parents[2]
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
PATIENCE = 20
# What a run may change: how long a client is held, since that is waited for.
SHIPPED = """
[server]
data_dir = "data"
models_dir = "{models}"
[admin]
address = "127.0.0.1:9180"
[access_log]
file = "access.log"
[tarpit]
interval_ms = 250
max_secs = 3
[[listener]]
address = "0.0.0.0:80"
[[listener]]
address = "0.0.0.0:443"
tls = true
[[certificate]]
hosts = ["*"]
chain_file = "chain.pem"
key_file = "key.pem"
"""
SITE = """
[[upstream]]
name = "{name}"
servers = [{{ address = "127.0.0.1:{port}" }}]
http = "{http}"
[[site]]
name = "{name}"
hosts = {hosts}
upstream = "{name}"
"""


class Seat:
    """A name, and the address that whoever asks it comes from."""

    def __init__(self, host, site, network, number):
        self.host = host
        self.site = site
        self.network = f"127.{network}.{number}"
        self.gateway, self.client = f"{self.network}.1", f"{self.network}.2"


class Stage:
    """One run: everything that it starts ends with it."""

    def __init__(self):
        # `suite` outlives nothing: its folder goes even where a test fails.
        self._folder = tempfile.TemporaryDirectory(prefix="thornwall-clients-")
        self.folder = pathlib.Path(self._folder.name)
        self.seats = []
        self.sites = {}
        self.gateway = None
        self._started = []
        self._lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self._started):
            end(process)
        self._folder.cleanup()

    def site(self, name, port, http="1"):
        """An origin on this port, which all seats of this name have behind them."""
        self.sites[name] = (port, http)

    def seat(self, host, site, network=100):
        number = sum(network == other for _, other in self.seats) + 1
        assert number < 255, f"network 127.{network} is full"
        seat = Seat(host, site, network, number)
        self.seats.append((seat, network))
        return seat

    def open(self):
        """Makes names resolve, gives each seat its address, and makes certificates be believed."""
        lines = ["link set lo up"]
        hosts = ["127.0.0.1 localhost"]
        for seat, _ in self.seats:
            lines.append(f"route add local {seat.network}.0/24 dev lo table local src {seat.client}")
            hosts.append(f"{seat.gateway} {seat.host}")
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
        self._cover("/etc/hosts", "\n".join(hosts) + "\n")
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        shown = authority.issue_cert(*(seat.host for seat, _ in self.seats), key_type=trustme.KeyType.ECDSA)
        (self.folder / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in shown.cert_chain_pems))
        shown.private_key_pem.write_to_path(self.folder / "key.pem")
        self._cover(AUTHORITIES, authority.cert_pem.bytes().decode())

    def _cover(self, path, text):
        ours = self.folder / path.replace("/", "_")
        ours.write_text(text)
        subprocess.run(["mount", "--bind", ours, path], check=True)

    def serve(self, more=""):
        """Starts the gateway with what ships, the run's sites before it."""
        binary = program()
        text = SHIPPED.format(models=os.environ.get("THORNWALL_MODELS", ROOT / "models"))
        for name, (port, http) in self.sites.items():
            hosts = [seat.host for seat, _ in self.seats if seat.site == name]
            if hosts:
                text += SITE.format(name=name, port=port, http=http, hosts=str(hosts).replace("'", '"'))
        self.config = self.folder / "thornwall.toml"
        self.config.write_text(text + more)
        self.start([binary, "run", "-c", self.config], "gateway")
        self.wait_for(443)

    def order(self, *words):
        """What an operator tells the gateway."""
        subprocess.run([program(), *words, "-c", self.config], check=True, stdout=subprocess.DEVNULL)

    def start(self, command, name, **more):
        """Starts a server; what it says lies in `NAME.log`."""
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command], cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, **more)
        with self._lock:
            self._started.append(process)
        return process

    def wait_for(self, port):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise SystemExit(f"nobody listens on port {port}:\n{self.said()}") from None
                time.sleep(0.05)

    def keep(self, file):
        """Copies what the gateway has written about each request."""
        shutil.copyfile(self.folder / "access.log", file)

    def said(self):
        """The last that each server said."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {log.stem}\n{log.read_text(errors='replace')[-800:]}" for log in logs)


def program():
    built = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    binary = os.environ.get("THORNWALL", f"{built}/debug/thornwall")
    if not os.access(binary, os.X_OK):
        raise SystemExit(f"{binary} is not there; build it with: cargo build -p thornwall-gateway --bins")
    return binary


def end(process):
    """Ends a process and its session's other members, by id."""
    for step in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, step)
            process.wait(2)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
