"""TLS handshakes per second of the server's CPU time, beside nginx with the same certificate."""

import json
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from statistics import median

from rig import certificates, peers
from rig.host import RigError, built
from rig.report import Target, progress
from rig.rounds import interleaved

PROXIES = ("nginx", peers.NO_FILTERS)
# Version and kind, and how a client is asked for them. The key exchange is X25519 but where it is what
# is asked about: TLS 1.2 has no other that both sides like as much, and OpenSSL serves a P-256
# certificate there to those alone who say that they know that curve.
CASES = {
    ("1.3", "full"): ("--group", "x25519"),
    ("1.3", "resumed"): ("--group", "x25519", "--resume"),
    ("1.2", "full"): (),
    ("1.2", "resumed"): ("--resume",),
    ("1.3", "full, post-quantum offered"): (),
}
# The case that nginx cannot answer in kind, so that a ratio would say nothing.
UNJUDGED = "full, post-quantum offered"
# Handshakes per second of a measurement: about as many as one core makes.
FULL_COUNTS = {"ecdsa": 2000, "rsa": 800}
RESUMED_COUNT = 3000
# Clients at a time. Each that resumes makes one full handshake before, which is in the CPU time but
# not in the count: there are to be few.
AT_ONCE = 8
MOST_SECONDS = 120


def measured(site, rounds, seconds):
    """Handshakes per CPU second: by certificate, version, kind and proxy."""
    rates = {}
    for key in certificates.KEYS:
        # In the order of the report.
        rates |= {(key, *case): {name: [] for name in PROXIES} for case in CASES}
        with ExitStack() as stack:
            secure = replace(site, certificate=certificates.made(key))
            running = {name: stack.enter_context(peers.PEERS[name][1](secure)) for name in PROXIES}
            kinds = [(*case, name) for case in CASES for name in PROXIES]
            for turn, (version, kind, name) in interleaved(kinds, rounds):
                count = (RESUMED_COUNT if kind == "resumed" else FULL_COUNTS[key]) * seconds
                rate = _rate(running[name], version, kind, count)
                rates[key, version, kind][name].append(rate)
                progress(
                    f"round {turn}/{rounds}  {key} TLS {version} {kind} {name:22} {rate:6.0f}/s"
                )
    return [
        {"key": key, "version": version, "kind": kind, "proxies": _summary(of)}
        for (key, version, kind), of in rates.items()
    ]


def _summary(rates):
    return {
        name: {
            "per_cpu_second": median(found),
            "x_nginx": median(
                one / other for one, other in zip(found, rates["nginx"], strict=True)
            ),
        }
        for name, found in rates.items()
    }


def _rate(peer, version, kind, count):
    command = [built("handshakes"), f"127.0.0.1:{peer.port}", "--name", certificates.SERVER_NAME]
    command += ["--tls", version, "--count", str(count), "--at-once", str(AT_ONCE), *CASES[version, kind]]
    before = sum(peer.cpu_seconds().values())
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=MOST_SECONDS
    )
    spent = sum(peer.cpu_seconds().values()) - before
    what = f"{peer.name}: handshakes, TLS {version}, {kind}"
    if done.returncode != 0:
        raise RigError(f"{what}: {done.stdout}{done.stderr}")
    found = json.loads(done.stdout)
    if found["failures"]:
        raise RigError(f"{what}: {found['failures']} of {count} failed: {found['first_error']}")
    if found["resumed"] != (count if kind == "resumed" else 0):
        raise RigError(f"{what}: {found['resumed']} of {count} were resumed")
    return count / spent


def targets(found):
    for row in found:
        if row["kind"] == UNJUDGED:
            continue
        thornwall = row["proxies"][peers.NO_FILTERS]
        yield Target(
            f"TLS {row['version']} {row['kind']}, {row['key']}: at least nginx's handshakes per "
            "CPU second",
            f"{thornwall['x_nginx']:.2f} x nginx, {thornwall['per_cpu_second']:,.0f}/s",
            thornwall["x_nginx"] >= 1,
        )


def table(found):
    lines = [
        "| handshakes per CPU second | " + " | ".join(peers.PEERS[n][0] for n in PROXIES) + " |",
        "|---" * (1 + len(PROXIES)) + "|",
    ]
    for row in found:
        cells = [f"{row['proxies'][name]['per_cpu_second']:,.0f}" for name in PROXIES]
        lines.append(
            f"| TLS {row['version']}, {row['key']}, {row['kind']} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)
