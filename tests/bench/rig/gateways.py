"""Three gateways that share a Redis: what sharing costs a request, and what a limit lets through."""

import threading
import time
from contextlib import ExitStack
from statistics import median

from rig import thornwall
from rig.host import RigError, free_port, installed
from rig.load import measure, wrk
from rig.process import Process, status
from rig.report import Target, progress
from rig.rounds import interleaved

GATEWAYS = 3
LIMIT = 100
KEYS = 10
SECONDS = 5


def measured(site, rounds, seconds):
    costs = {"alone": [], "shared": []}
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        start = lambda name, **more: stack.enter_context(
            thornwall.running(f"thornwall_{name}", site.origin, filters=("blocklist", "rate_limit"), **more)
        )
        alone = start("alone")
        shared = [start(f"shared_{number}", redis=redis) for number in range(GATEWAYS)]
        for turn, kind in interleaved(costs, rounds):
            gateway = alone if kind == "alone" else shared[turn % GATEWAYS]
            run = measure(gateway, seconds, "browser", thornwall.BROWSER)
            costs[kind].append(run.total_us)
            progress(f"round {turn}/{rounds}  {kind:22} {run.total_us:6.1f} us")
        limited = [
            start(f"limited_{number}", redis=redis, limit=LIMIT) for number in range(GATEWAYS)
        ]
        wait_until_met(limited)
        admitted = let_through(limited)
    ratio = median(a / b for a, b in zip(costs["alone"], costs["shared"], strict=True))
    return {
        "cpu_us": {kind: median(cost) for kind, cost in costs.items()},
        "x_one": GATEWAYS * ratio,
        "admitted": admitted,
        "expected": KEYS * LIMIT * SECONDS,
    }


def targets(found):
    cost = found["cpu_us"]
    yield Target(
        "three gateways on one Redis: at least 2.5 times one's requests per CPU second",
        f"{found['x_one']:.2f} x ({cost['shared']:.1f} us each, {cost['alone']:.1f} us alone)",
        found["x_one"] >= 2.5,
    )
    ratio = found["admitted"] / found["expected"]
    yield Target(
        f"limits of {LIMIT}/s at three gateways, {KEYS} keys above ten times that: within 10 % "
        "after the first second",
        f"{found['admitted']:,} let through in {SECONDS} s, {found['expected']:,} expected: {ratio:.3f}",
        abs(ratio - 1) <= 0.1,
    )


def redis_server():
    port = free_port()
    command = [
        *(installed("redis-server"), "--bind", "127.0.0.1", "--port", str(port)),
        *("--save", "", "--appendonly", "no", "--daemonize", "no"),
    ]
    return _Redis(port, Process("redis_shared", command))


class _Redis:
    """A server that gives its address."""

    def __init__(self, port, process):
        self._port, self._process = port, process

    def __enter__(self):
        self._process.__enter__()
        return f"redis://127.0.0.1:{self._port}"

    def __exit__(self, *error):
        self._process.__exit__(*error)


def wait_until_met(gateways):
    deadline = time.monotonic() + 20
    while any(gateway.total("shared_limits_gateways") < len(gateways) for gateway in gateways):
        if time.monotonic() > deadline:
            raise RigError("the gateways did not meet within 20 s")
        time.sleep(0.1)


def let_through(gateways):
    """Requests that all gateways together serve within `SECONDS`, a second after the start."""
    progress("gateways: limits at ten times what they allow")
    _at_once(gateways, 1)
    loads = _at_once(gateways, SECONDS)
    return sum(load.requests - load.not_2xx for load in loads)


def _at_once(gateways, seconds):
    loads = [None] * len(gateways)

    def load(at, gateway):
        loads[at] = wrk(gateway.url, seconds, "few", str(KEYS))

    threads = [threading.Thread(target=load, args=pair) for pair in enumerate(gateways)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if None in loads or any(status(gateway.url) is None for gateway in gateways):
        raise RigError("a gateway was not loaded")
    return loads
