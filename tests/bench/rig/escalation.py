"""What escalating dubious clients costs the gateway and the sidecar, and how soon a case is enforced."""

import http.client
import time
from contextlib import ExitStack
from statistics import median, quantiles

from rig import sidecar, thornwall
from rig.host import RigError
from rig.load import CHROME, measure, wrk
from rig.report import Target, progress
from rig.rounds import interleaved

# Clients of the load, of which each has a case: the band is everything.
CLIENTS = 250
BAND = "{ score = [0.0, 1.0] }"
KINDS = ("without", "up", "stopped", "dead")
MOST_GROWTH = 1.03

CALLS = 50_000
MOST_CALL_US = 50

# A full table, each of whose cases shows as many requests as it can.
QUEUED = 10_000
PASSES = 33
MOST_PASS_SECONDS = 60
MOST_QUEUED_MIB = 64

CASES = 1_000
MOST_WAY_SECS = 1
PATIENCE_SECS = 20


def measured(site, rounds, seconds, cases=CASES):
    return {
        "cpu_us": _cost(site, rounds, seconds),
        "call": _call(),
        "queued": _queued(site),
        "way": _way(site, cases),
    }


def targets(found):
    for kind, what in (
        ("up", "with a sidecar"),
        ("stopped", "with a sidecar that stands still"),
        ("dead", "with a sidecar that is gone"),
    ):
        cost = found["cpu_us"]
        yield Target(
            f"a proxied request whose client has a case, {what}: at most {MOST_GROWTH} of one without",
            f"{cost['x_without'][kind]:.3f} x ({cost[kind]:.1f} us beside {cost['without']:.1f} us)",
            cost["x_without"][kind] <= MOST_GROWTH,
        )
    call = found["call"]
    yield Target(
        f"the sidecar's CPU time of an `Assess` that two steps settle: at most {MOST_CALL_US} us",
        f"{call['cpu_us']:.1f} us over {call['calls']:,} calls, {call['per_sec']:,.0f} a second",
        call["cpu_us"] <= MOST_CALL_US,
    )
    queued = found["queued"]
    yield Target(
        f"{QUEUED:,} cases that wait for a sidecar: at most {MOST_QUEUED_MIB} MiB",
        f"{queued['with_mib'] - queued['without_mib']:.1f} MiB "
        f"({queued['with_mib']:.1f} beside {queued['without_mib']:.1f} MiB resident)",
        queued["with_mib"] - queued["without_mib"] <= MOST_QUEUED_MIB,
    )
    way = found["way"]
    yield Target(
        f"from a case's request to the 403 at another gateway: below {MOST_WAY_SECS} s",
        f"{way['median_ms']:.0f} ms median, {way['p99_ms']:.0f} ms p99, {way['most_ms']:.0f} ms at "
        f"most of {way['cases']:,}",
        way["most_ms"] < MOST_WAY_SECS * 1000,
    )


def table(found):
    names = {
        "without": "no filter `escalate`",
        "up": "sidecar there",
        "stopped": "sidecar stands still (SIGSTOP)",
        "dead": "sidecar gone",
    }
    cost = found["cpu_us"]
    lines = ["| gateway | CPU us a request | x without |", "|---|---|---|"]
    lines += [
        f"| {names[kind]} | {cost[kind]:.1f} | {cost['x_without'].get(kind, 1):.3f} |"
        for kind in KINDS
    ]
    return "\n".join(lines)


def _cost(site, rounds, seconds):
    """CPU time per proxied request of the gateway alone."""
    costs = {kind: [] for kind in KINDS}
    with ExitStack() as stack:
        up, stopped = (
            stack.enter_context(sidecar.running(f"sidecar_{name}", sidecar.LENIENT))
            for name in ("up", "stopped")
        )
        links = {
            "without": None,
            "up": up.link,
            "stopped": stopped.link,
            "dead": sidecar.away("sidecar_dead").link,
        }
        gateways = {
            kind: stack.enter_context(_gateway(f"thornwall_{kind}", site, link))
            for kind, link in links.items()
        }
        for kind in ("up", "stopped"):
            _wait_for("the sidecar", lambda: gateways[kind].total("escalation_connected") == 1)
        stack.enter_context(stopped.process.stopped())
        for turn, kind in interleaved(KINDS, rounds):
            run = measure(gateways[kind], seconds, "few", str(CLIENTS))
            costs[kind].append(run.total_us)
            progress(f"round {turn}/{rounds}  escalation {kind:12} {run.total_us:6.1f} us")
        for kind in KINDS[1:]:
            if gateways[kind].total("escalation_cases") < CLIENTS:
                raise RigError(f"{kind}: not every client had a case")
        if gateways["up"].total("escalation_sent") < CLIENTS:
            raise RigError("the sidecar was not told of every case")
    beside = lambda kind: median(a / b for a, b in zip(costs[kind], costs["without"], strict=True))
    return {
        **{kind: median(cost) for kind, cost in costs.items()},
        "x_without": {kind: beside(kind) for kind in KINDS[1:]},
    }


def _call():
    """CPU time of the sidecar per unary call."""
    with sidecar.running("sidecar_calls") as running:
        progress(f"escalation: {CALLS:,} calls")
        # What is made once is no part of a call.
        sidecar.assess(running, CALLS // 10)
        before = running.process.cpu_seconds()
        seconds = sidecar.assess(running, CALLS)
        spent = running.process.cpu_seconds() - before
    return {"calls": CALLS, "cpu_us": spent * 1e6 / CALLS, "per_sec": CALLS / seconds}


def _queued(site):
    """Resident memory with a full table of cases, and after the same load without one."""
    found = {}
    for kind, link in (("without_mib", None), ("with_mib", sidecar.away("sidecar_dead").link)):
        with _gateway(f"thornwall_{kind}", site, link) as gateway:
            for turn in range(PASSES):
                progress(f"escalation: {QUEUED:,} cases, {kind}, pass {turn + 1}/{PASSES}")
                load = wrk(gateway.url, MOST_PASS_SECONDS, "crowd", str(QUEUED))
                if load.requests < QUEUED or load.not_2xx:
                    raise RigError(f"{kind}: not all of {QUEUED} clients were served")
            if link and gateway.total("escalation_cases") != QUEUED:
                raise RigError(f"{gateway.total('escalation_cases')} cases; expected {QUEUED}")
            found[kind] = gateway.process.rss_mib()
    return found


def _way(site, cases):
    """How long it takes from a scanner's request at one gateway to its 403 at another."""
    with ExitStack() as stack:
        running = stack.enter_context(sidecar.running("sidecar_way", sidecar.STRICT))
        one, other = (
            stack.enter_context(
                _gateway(f"thornwall_way_{name}", site, running.link, band="{ score = [0.3, 1.0] }")
            )
            for name in ("one", "other")
        )
        for gateway in (one, other):
            _wait_for("the sidecar", lambda: gateway.total("escalation_connected") == 1)
        took_ms = []
        asking, watching = (_Client(gateway.port) for gateway in (one, other))
        for number in range(cases):
            address = f"11.{number // 250}.{number % 250}.9"
            began = time.monotonic()
            if asking.status(address, SCANNER) != 200:
                raise RigError("a scanner was refused before its case was decided")
            _wait_for("the decision", lambda: watching.status(address, CHROME) == 403)
            took_ms.append((time.monotonic() - began) * 1000)
            if number % 50 == 0:
                progress(f"escalation: case {number}/{cases}")
    return {
        "cases": cases,
        "median_ms": median(took_ms),
        "p99_ms": quantiles(took_ms, n=100)[98],
        "most_ms": max(took_ms),
    }


SCANNER = {"user-agent": "zgrab/0.x"}


class _Client:
    """One connection that is kept."""

    def __init__(self, port):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def status(self, address, headers):
        headers = {"x-forwarded-for": address, **headers}
        self._connection.request("GET", "/articles/1", headers=headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status


def _gateway(name, site, link, band=BAND):
    filters = ("blocklist", "rate_limit", "heuristics", "anomaly")
    if link:
        filters = (*filters, "escalate")
    # The ladder would rule before the sidecar does.
    return thornwall.running(
        name, site.origin, filters=filters, escalation=link, band=band, ladder={}
    )


def _wait_for(what, ready):
    deadline = time.monotonic() + PATIENCE_SECS
    while not ready():
        if time.monotonic() > deadline:
            raise RigError(f"waited in vain for {what}")
        time.sleep(0.001)
