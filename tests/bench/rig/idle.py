"""Ten thousand idle connections, each after one request: the memory that they cost."""

import time
from dataclasses import replace

from rig import certificates, peers
from rig.crowd import SIZE, WAYS, Crowd
from rig.process import status
from rig.report import Target, progress

PROXIES = ("nginx", "bare_pingora", peers.NO_FILTERS)
# What one idle connection may cost.
MOST_KIB = {"plain": 15, "tls": 30}
# The last answers are through, and what was needed for handshakes alone is free again.
SETTLING_SECONDS = 3


def measured(site):
    """KiB of resident memory per connection, of each proxy, over each protocol."""
    return {over: {name: _one(name, site, over) for name in PROXIES} for over in WAYS}


def _one(name, site, over):
    if WAYS[over][1]:
        site = replace(site, certificate=certificates.made("ecdsa"))
    with peers.PEERS[name][1](site) as peer:
        status(peer.url)
        before = peer.rss_mib()
        with Crowd(peer.port, over) as crowd:
            progress(f"idle: {name}, {SIZE:,} connections, {WAYS[over][0]}")
            crowd.wait_until_held()
            time.sleep(SETTLING_SECONDS)
            after = peer.rss_mib()
            crowd.end()
    return (after - before) * 1024 / SIZE


def targets(found):
    for over, most in MOST_KIB.items():
        each = found[over][peers.NO_FILTERS]
        yield Target(
            f"{SIZE:,} idle connections, {WAYS[over][0]}: at most {most} KiB each",
            f"{each:.1f} KiB",
            each <= most,
        )


def table(found):
    lines = [
        f"| KiB per idle connection, of {SIZE:,} | "
        + " | ".join(WAYS[over][0] for over in found)
        + " |",
        "|---" * (1 + len(found)) + "|",
    ]
    for name in PROXIES:
        cells = [f"{found[over][name]:.1f}" for over in found]
        lines.append(f"| {peers.PEERS[name][0]} | {' | '.join(cells)} |")
    return "\n".join(lines)
