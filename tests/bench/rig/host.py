"""Where things are, and which machine and versions the numbers belong to."""

import os
import platform
import re
import shutil
import socket
import subprocess
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
ROOT = BENCH.parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORK = TARGET / "bench"

BUILD = {
    "thornwall": "cargo build --release -p thornwall-gateway",
    "bare_pingora": "cargo build --release -p thornwall-tests --bins",
    "handshakes": "cargo build --release -p thornwall-tests --bins",
    "thornwall-sidecar": "cargo build --release -p thornwall-sidecar",
    "examples/assess_bench": "cargo build --release -p thornwall-sidecar --example assess_bench",
    "hold": "cargo build --release -p thornwall-tests --bins",
}


class RigError(Exception):
    """A measurement that cannot be made, or that did not measure what it says."""


def built(name):
    """The path of one of our release binaries."""
    path = TARGET / "release" / name
    if not path.is_file():
        raise RigError(f"{path} is missing; build it with: {BUILD[name]}")
    return str(path)


def installed(name):
    """The path of a program from Debian."""
    # Daemons live in folders that are not on everyone's path.
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise RigError(f"{name} is missing; install the peers with: {BENCH / 'setup'}")
    return path


def free_port():
    """A port of 127.0.0.1 on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def machine(names):
    """One line: processor, kernel, versions of the named programs, all of which must be here."""
    cores = os.cpu_count()
    facts = [f"{_processor()}, {cores} core{'s' * (cores != 1)}", f"Linux {platform.release()}"]
    versions = {
        "thornwall": lambda: _first_line(built("thornwall"), "--version"),
        "bare_pingora": lambda: f"Pingora {_locked('pingora')}",
        "nginx": lambda: "nginx " + _first_line(installed("nginx"), "-v").rpartition("/")[2],
        "haproxy": lambda: " ".join(_first_line(installed("haproxy"), "-v").split()[:3:2]),
        "redis-server": lambda: "Redis "
        + re.search(r"v=(\S+)", _first_line(installed("redis-server"), "--version"))[1],
        "h2load": lambda: _first_line(installed("h2load"), "--version"),
        "curl": lambda: " ".join(_first_line(installed("curl"), "--version").split()[:2]),
        "openssl": lambda: " ".join(_first_line(installed("openssl"), "version").split()[:2]),
        "wrk": lambda: " ".join(_first_line(installed("wrk"), "-v").split()[:2]),
    }
    for name in names & BUILD.keys():
        built(name)
    facts += [version() for name, version in versions.items() if name in names]
    return ", ".join(facts)


def _processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_line(*command):
    # Some print their version to standard error, and wrk ends with 1.
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout.partition("\n")[0].strip()


def _locked(package):
    lock = (ROOT / "Cargo.lock").read_text()
    return re.search(rf'name = "{package}"\nversion = "([^"]+)"', lock)[1]
