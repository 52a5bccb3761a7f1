"""Bodies of 100 MB each way: whether memory stays flat, and what they cost beside nginx."""

import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from statistics import median

from rig import certificates, peers, sink
from rig.crowd import WAYS
from rig.host import WORK, RigError, installed
from rig.report import Target, progress
from rig.rounds import interleaved

PROXIES = ("nginx", "bare_pingora", peers.NO_FILTERS)
DIRECTIONS = ("down", "up")
# Transfers of one measurement, so that the kernel's ticks of 10 ms are small beside it.
TRANSFERS = 3
MOST_SECONDS = 60
# Resident memory may grow by this much over all transfers and be called flat: buffers of both
# sides, and pages that come and go.
FLAT_MIB = 8


def measured(site, rounds):
    """Growth of memory and CPU time of each proxy, over each protocol, each way."""
    body = WORK / "body.bin"
    with open(body, "wb") as file:
        file.truncate(sink.BODY_BYTES)
    with sink.running() as port:
        site = replace(site, origin=port)
        return {over: _over(site, over, rounds, body) for over in WAYS}


def _over(site, over, rounds, body):
    if WAYS[over][1]:
        site = replace(site, certificate=certificates.made("ecdsa"))
    with ExitStack() as stack:
        running = {name: stack.enter_context(_ready(name, site)) for name in PROXIES}
        growth = {
            name: {way: _growth(running[name], over, way, body) for way in DIRECTIONS}
            for name in PROXIES
        }
        cost = {name: {way: [] for way in DIRECTIONS} for name in PROXIES}
        kinds = [(name, way) for name in PROXIES for way in DIRECTIONS]
        for turn, (name, way) in interleaved(kinds, rounds):
            peer = running[name]
            before = _cpu_seconds(peer)
            for _ in range(TRANSFERS):
                _transfer(peer, over, way, body)
            spent = (_cpu_seconds(peer) - before) * 1000 / TRANSFERS
            cost[name][way].append(spent)
            progress(f"round {turn}/{rounds}  {over} {way} {name:22} {spent:6.1f} ms")
    return {
        name: {
            way: {
                "growth_mib": growth[name][way],
                "cpu_ms": median(cost[name][way]),
                "x_nginx": median(
                    one / other
                    for one, other in zip(cost[name][way], cost["nginx"][way], strict=True)
                ),
            }
            for way in DIRECTIONS
        }
        for name in PROXIES
    }


@contextmanager
def _ready(name, site):
    with peers.PEERS[name][1](site) as peer:
        yield peer


def _cpu_seconds(peer):
    return sum(peer.cpu_seconds().values())


def _growth(peer, over, way, body):
    """The most memory beyond what was there, while one side is slow and then at full speed."""
    before = peer.rss_mib()
    peer.forget_peak()
    _transfer(peer, over, way, body, slowly=True)
    _transfer(peer, over, way, body)
    return max(0.0, peer.peak_mib() - before)


def _transfer(peer, over, way, body, slowly=False):
    url = peer.url.rpartition("/articles/")[0] + (sink.SLOW if slowly else sink.FAST)
    command = [installed("curl"), "-sS", "--max-time", str(MOST_SECONDS), "-o", "/dev/null"]
    command += ["--http2" if over == "h2" else "--http1.1", "-H", "Expect:"]
    command += ["--cacert", str(certificates.authority()[0])]
    command += ["-w", "%{http_code} %{http_version} %{size_download} %{size_upload}"]
    if way == "up":
        command += ["--upload-file", str(body)]
    elif slowly:
        command += ["--limit-rate", str(sink.SLOW_BYTES_PER_SECOND)]
    done = subprocess.run([*command, url], capture_output=True, text=True, check=False)
    code, version, received, sent = (done.stdout.split() + [""] * 4)[:4]
    size = str(sink.BODY_BYTES)
    complete = sent == size if way == "up" else received == size
    if code != "200" or not complete or (over == "h2") != (version == "2"):
        raise RigError(
            f"{peer.name}: 100 MB {way} over {WAYS[over][0]}: {done.stdout} {done.stderr}\n"
        )


def targets(found):
    for over, proxies in found.items():
        for way, facts in proxies[peers.NO_FILTERS].items():
            yield Target(
                f"100 MB {way} over {WAYS[over][0]}: memory flat, within {FLAT_MIB} MiB",
                f"{facts['growth_mib']:.1f} MiB",
                facts["growth_mib"] <= FLAT_MIB,
            )


def table(found):
    lines = ["| 100 MB | proxy | CPU ms | x nginx | memory grew by, MiB |", "|---|---|---|---|---|"]
    for over, proxies in found.items():
        for way in DIRECTIONS:
            for name in PROXIES:
                facts = proxies[name][way]
                lines.append(
                    f"| {way}, {WAYS[over][0]} | {peers.PEERS[name][0]} | {facts['cpu_ms']:.0f} "
                    f"| {facts['x_nginx']:.2f} | {facts['growth_mib']:.1f} |"
                )
    return "\n".join(lines)
