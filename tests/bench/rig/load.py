"""wrk and h2load: how load is made, and what one run of it found."""

import json
import re
import subprocess
from dataclasses import dataclass

from rig.host import BENCH, WORK, RigError, installed

CONNECTIONS = 64
# HTTP/2 has fewer connections, and requests at once on each.
H2_CONNECTIONS = 8
H2_STREAMS = 16

# The headers of a stock Chrome 131 on Linux over TLS, as in `requests.lua`.
CHROME = {
    "sec-ch-ua": '"Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Linux"',
    "upgrade-insecure-requests": "1",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.0.0 Safari/537.36",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    "image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
    "sec-fetch-site": "none",
    "sec-fetch-mode": "navigate",
    "sec-fetch-user": "?1",
    "sec-fetch-dest": "document",
    "accept-encoding": "gzip, deflate, br, zstd",
    "accept-language": "en-US,en;q=0.9",
}


@dataclass(frozen=True)
class Load:
    """One run of a load generator."""

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
    output = _said(
        *(installed("wrk"), "--threads", "1", "--connections", str(CONNECTIONS)),
        *("--duration", f"{seconds}s", "--timeout", "10s"),
        *("--script", str(BENCH / "requests.lua"), url, "--", *request),
    )
    found = [line for line in output.splitlines() if line.startswith("{")]
    if not found:
        raise RigError(f"wrk failed:\n{output}")
    facts = json.loads(found[-1])
    facts.pop("bytes")
    return Load(**facts)


def h2load(url, seconds, *_):
    """Runs h2load for `seconds`, as a browser over HTTP/2."""
    log = WORK / "h2load.log"
    # It appends.
    log.unlink(missing_ok=True)
    headers = [part for name, value in CHROME.items() for part in ("-H", f"{name}: {value}")]
    output = _said(
        *(installed("h2load"), "--threads=1", f"--duration={seconds}", f"--log-file={log}"),
        *(f"--clients={H2_CONNECTIONS}", f"--max-concurrent-streams={H2_STREAMS}"),
        *("--connection-inactivity-timeout=10", *headers, url),
    )
    if "Application protocol: h2\n" not in output:
        raise RigError(f"h2load did not speak HTTP/2:\n{output}")
    succeeded = int(re.search(r"(\d+) succeeded", output)[1])
    broken = sum(int(count) for count in re.findall(r"(\d+) (?:errored|timeout)", output))
    # A line per finished request: its start, its status, its microseconds.
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    lasted = sorted(int(us) for _, status, us in lines if status != "-1")
    if not lasted:
        raise RigError(f"h2load finished no request:\n{output}")
    return Load(
        requests=len(lasted),
        seconds=seconds,
        not_2xx=len(lasted) - succeeded,
        broken=broken,
        p50_ms=lasted[len(lasted) // 2] / 1000,
        p99_ms=lasted[len(lasted) * 99 // 100] / 1000,
    )


def measure(peer, seconds, *request, answered=True, warmup=1, load=wrk):
    """One window on a running peer: CPU time around the whole of the load, by requests completed.

    `answered` says what every request must get: an answer from the site, or a refusal.
    """
    if warmup:
        load(peer.url, warmup, *request)
    before = peer.cpu_seconds()
    found = load(peer.url, seconds, *request)
    after = peer.cpu_seconds()
    _check(peer, found, answered)
    spent = {name: (after[name] - before[name]) * 1e6 / found.requests for name in after}
    return Run(found, spent)


def _said(*command):
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise RigError(f"{command[0]} failed:\n{done.stdout}")
    return done.stdout


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
