"""Ten thousand scrapers held in the tarpit: memory, CPU, and what they cost everybody else."""

import json
import random
import select
import subprocess
import time
from contextlib import ExitStack
from statistics import median

from rig import thornwall
from rig.host import RigError, built
from rig.load import measure
from rig.report import Target, progress

HELD = 10_000
CHUNK_SECONDS = 5
# Opening the connections, and the load beside them, end long before; a forgotten crowd ends itself.
MOST_SECONDS = 900
OPENING_SECONDS = 90


def measured(site, rounds, seconds, quiet_seconds):
    """Two gateways alike: one holds the crowd, the other shows what requests cost without it."""
    # One rung: whoever is suspicious is held.
    ladder = {"tarpit": 0.5}
    with ExitStack() as stack:
        holding, free = (
            stack.enter_context(thornwall.running(name, site.origin, ladder=ladder))
            for name in ("thornwall_tarpit", "thornwall_no_tarpit")
        )
        idle_mib = holding.process.rss_mib()
        crowd = stack.enter_context(_Crowd(holding.port))
        crowd.wait_until_held()
        # Past the burst of the first chunks.
        time.sleep(CHUNK_SECONDS)
        core = _quiet_core_share(holding, quiet_seconds)
        held_mib = holding.process.rss_mib() - idle_mib
        beside = _beside(holding, free, rounds, seconds)
        crowd.end()
    return {
        "held": crowd.answered,
        "held_mib": held_mib,
        "core_share": core,
        "chunks_per_connection_per_interval": crowd.chunk_rate() * CHUNK_SECONDS,
        "proxied_us": {"without": median(beside[free]), "beside": median(beside[holding])},
        "beside_to_without": median(
            one / other for one, other in zip(beside[holding], beside[free], strict=True)
        ),
    }


def targets(found):
    held = f"{found['held']:,} held tarpit connections"
    yield Target(
        f"{held}: at most 80 MiB above idle",
        f"{found['held_mib']:.1f} MiB",
        found["held_mib"] <= 80,
    )
    yield Target(
        f"{held}: at most 3 % of a core",
        f"{found['core_share']:.2%} at {found['chunks_per_connection_per_interval']:.2f} chunks "
        f"a connection each {CHUNK_SECONDS} s",
        found["core_share"] <= 0.03,
    )
    cost = found["proxied_us"]
    yield Target(
        f"{held}: a proxied request beside them costs within 10 % of one without",
        f"{found['beside_to_without']:.3f} x "
        f"({cost['beside']:.1f} us beside {cost['without']:.1f} us)",
        found["beside_to_without"] <= 1.1,
    )


def _quiet_core_share(gateway, seconds):
    progress(f"tarpit: {seconds} s with the crowd alone")
    before, started = gateway.process.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (gateway.process.cpu_seconds() - before) / (time.monotonic() - started)


def _beside(holding, free, rounds, seconds):
    costs = {holding: [], free: []}
    for turn in range(rounds):
        order = [holding, free]
        random.Random(turn).shuffle(order)
        for gateway in order:
            # The crowd's own chunks are in the figure: they are part of what it costs.
            run = measure(gateway, seconds, "browser", thornwall.BROWSER)
            costs[gateway].append(run.total_us)
            progress(f"round {turn + 1}/{rounds}  {gateway.name:22} {run.total_us:6.1f} us")
    return costs


class _Crowd:
    """The process that holds the connections' other ends."""

    def __init__(self, port):
        command = [built("hold"), f"127.0.0.1:{port}", str(HELD), str(MOST_SECONDS)]
        self._child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._held = self._ended = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._child.terminate()
        self._child.wait(10)

    @property
    def answered(self):
        return self._held["answered"]

    def wait_until_held(self):
        progress(f"tarpit: opening {HELD:,} connections")
        ready, _, _ = select.select([self._child.stdout], [], [], OPENING_SECONDS)
        if not ready:
            raise RigError(f"the tarpit did not answer {HELD} connections in {OPENING_SECONDS} s")
        self._held = json.loads(self._child.stdout.readline())
        if self.answered < HELD:
            raise RigError(f"the tarpit answered {self.answered} of {HELD} connections")

    def end(self):
        """Ends the crowd and checks that it was held, and dripped on, to the end."""
        self._child.terminate()
        self._ended = json.loads(self._child.stdout.readline())
        if self._ended["closed"] * 100 > HELD:
            raise RigError(f"the tarpit let go {self._ended['closed']} of {HELD} connections")
        if self.chunk_rate() * CHUNK_SECONDS < 0.5:
            raise RigError(f"the tarpit drips {self.chunk_rate():.3f} chunks a second on each")

    def chunk_rate(self):
        """Chunks per second on one connection, once all were held."""
        chunks = self._ended["chunks"] - self._held["chunks"]
        return chunks / HELD / (self._ended["seconds"] - self._held["seconds"])
