"""wrk: how load is made, and what one run of it found."""

import json
import subprocess
from dataclasses import dataclass

from rig.host import BENCH, RigError, installed

CONNECTIONS = 64


@dataclass(frozen=True)
class Load:
    """One run of wrk."""

    requests: int
    seconds: float
    not_2xx: int
    broken: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Run:
    """One measured window: the load, and the CPU time that each process of a proxy spent on it."""

    load: Load
    cpu_us: dict

    @property
    def total_us(self):
        return sum(self.cpu_us.values())


def wrk(url, seconds, *request):
    """Runs wrk for `seconds`; `request` is the kind of request and its argument."""
    command = [
        installed("wrk"),
        *("--threads", "1", "--connections", str(CONNECTIONS)),
        *("--duration", f"{seconds}s", "--timeout", "10s"),
        *("--script", str(BENCH / "requests.lua"), url, "--", *request),
    ]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not found:
        raise RigError(f"wrk failed:\n{done.stdout}")
    facts = json.loads(found[-1])
    facts.pop("bytes")
    return Load(**facts)


def measure(peer, seconds, *request, answered=True, warmup=1):
    """One window on a running peer: CPU time around the whole of wrk, by requests completed.

    `answered` says what every request must get: an answer from the site, or a refusal.
    """
    if warmup:
        wrk(peer.url, warmup, *request)
    before = peer.cpu_seconds()
    load = wrk(peer.url, seconds, *request)
    after = peer.cpu_seconds()
    _check(peer, load, answered)
    spent = {name: (after[name] - before[name]) * 1e6 / load.requests for name in after}
    return Run(load, spent)


def _check(peer, load, answered):
    if load.requests == 0:
        raise RigError(f"{peer.name}: no request was completed")
    refused = load.not_2xx
    # One broken connection in a thousand requests is noise; refusals are another measurement.
    if load.broken * 1000 > load.requests:
        raise RigError(f"{peer.name}: {load.broken} of {load.requests} requests broke")
    if answered and refused:
        raise RigError(f"{peer.name}: {refused} of {load.requests} requests were refused")
    if not answered and refused < load.requests:
        passed = load.requests - refused
        raise RigError(f"{peer.name}: {passed} of {load.requests} requests were not refused")
