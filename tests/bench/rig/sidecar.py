"""The sidecar: the configuration that the benchmark writes for it, and its running process."""

import json
import shutil
import subprocess
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.host import WORK, RigError, built, free_port
from rig.process import Process

TOKEN = "benchmark" * 4
# What decides nothing, and what decides about whoever is as dubious as a scanner.
LENIENT = "alert = 1.0\nthrottle = 1.0\ntarpit = 1.0\ndeny = 1.0\n"
STRICT = "alert = 0.5\nthrottle = 0.5\ntarpit = 0.5\ndeny = 0.5\n"


@dataclass(frozen=True)
class Sidecar:
    """A running sidecar, or one that is only configured where there is no process."""

    address: str
    token_file: Path
    admin: int | None = None
    process: Process | None = None

    @property
    def link(self):
        """The table `[escalation]` of a gateway that asks it."""
        return f'address = "{self.address}"\ntoken_file = "{self.token_file}"\n'

    def total(self, name):
        url = f"http://127.0.0.1:{self.admin}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def away(name):
    """A sidecar that nobody started."""
    return Sidecar(f"http://127.0.0.1:{free_port()}", _token(name))


@contextmanager
def running(name, ladder=""):
    """A sidecar with thresholds of its own, ready."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    token_file = _token(name)
    port, admin = free_port(), free_port()
    file = folder / "sidecar.toml"
    file.write_text(
        f"""
[server]
address = "127.0.0.1:{port}"
data_dir = "{folder / 'data'}"

[admin]
address = "127.0.0.1:{admin}"

[[caller]]
name = "bench"
token_file = "{token_file}"
roles = ["assess"]

[ladder]
{ladder}
"""
    )
    with Process(name, [built("thornwall-sidecar"), "run", "-c", str(file)]) as process:
        process.wait_until_ready(f"http://127.0.0.1:{admin}/ready")
        yield Sidecar(f"http://127.0.0.1:{port}", token_file, admin, process)


def _token(name):
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "token").chmod(0o600)
    return folder / "token"


def assess(sidecar, calls):
    """Has concurrent clients make so many calls; the seconds that they took."""
    program = built("examples/assess_bench")
    command = [program, sidecar.address, sidecar.token_file, str(calls)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RigError(f"assess_bench failed:\n{done.stderr}")
    return json.loads(done.stdout)["seconds"]
