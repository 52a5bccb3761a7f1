"""What a million decisions, one more of them, and a feed of a hundred thousand cost a request."""

import json
import random
import subprocess
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from rig import thornwall
from rig.host import TARGET, WORK, RigError
from rig.load import measure
from rig.report import Target, progress
from rig.rounds import interleaved

MANY = 1_000_000
LISTED = 100_000
# Written while a measurement runs.
PER_SECOND = 20
# Resident time of everything that is measured here, as a share of what it is without.
MOST_GROWTH = 1.10
KINDS = ("none", "many", "deciding", "feed")


def measured(site, rounds, seconds):
    """CPU time per proxied request of each kind, and how long a start with so many takes."""
    file = filled()
    feed = WORK / "feed.txt"
    write_feed(feed, 0)
    costs = {kind: [] for kind in KINDS}
    filters = ("blocklist",)
    settings = {"filters": filters, "max_decisions": 2 * MANY}
    with ExitStack() as stack:
        start = lambda name, **more: stack.enter_context(
            thornwall.running(f"thornwall_{name}", site.origin, **settings, **more)
        )
        gateways = {"none": start("none")}
        gateways["many"] = gateways["deciding"] = start("many", decisions=file)
        gateways["feed"] = start("feed", feed=feed)
        applied = []
        for turn, kind in interleaved(KINDS, rounds):
            if kind == "feed":
                applied.append(republish(feed, turn, gateways["feed"]))
            with deciding(gateways[kind]) if kind == "deciding" else ExitStack():
                run = measure(gateways[kind], seconds, "browser", thornwall.BROWSER)
            costs[kind].append(run.total_us)
            progress(f"round {turn}/{rounds}  {kind:22} {run.total_us:6.1f} us")
    beside = lambda kind: median(a / b for a, b in zip(costs[kind], costs["none"], strict=True))
    return {
        "decisions": MANY,
        "ready_secs": gateways["many"].process.ready_secs,
        "cpu_us": {kind: median(cost) for kind, cost in costs.items()},
        "x_none": {kind: beside(kind) for kind in KINDS},
        "feed_applied_secs": max(applied),
    }


def targets(found):
    beside, cost = found["x_none"], found["cpu_us"]
    for kind, what in (
        ("many", "beside a million decisions"),
        ("deciding", f"while {PER_SECOND} decisions a second are added to a million"),
        ("feed", "while 100,000 entries of a feed are replaced"),
    ):
        yield Target(
            f"a proxied request {what}: within 10 % of one without",
            f"{beside[kind]:.2f} x ({cost[kind]:.1f} us beside {cost['none']:.1f} us)",
            beside[kind] <= MOST_GROWTH,
        )
    yield Target(
        "100,000 entries of a feed hold within 3 s of their publication",
        f"{found['feed_applied_secs']:.2f} s at most, a second's pause between readings included",
        found["feed_applied_secs"] <= 3,
    )
    yield Target(
        "a start with a million decisions serves within 2 s",
        f"{found['ready_secs']:.2f} s",
        found["ready_secs"] <= 2,
    )


def filled():
    """A file with so many decisions, made once."""
    file = WORK / "decisions.redb"
    if not file.is_file():
        progress(f"decisions: writing {MANY:,} of them")
        program = TARGET / "release" / "examples" / "store_bench"
        if not program.is_file():
            build = "cargo build --release -p thornwall-decisions --examples"
            raise RigError(f"{program} is missing; build it with: {build}")
        part = file.with_suffix(".part")
        part.unlink(missing_ok=True)
        subprocess.run([program, str(part)], check=True, stdout=subprocess.DEVNULL)
        part.rename(file)
    return file


def write_feed(file, turn):
    """A list of so many addresses, others each time; the first is the one of this turn."""
    pick = random.Random(turn)
    lines = [marker(turn)] + [
        f"101.{pick.randrange(256)}.{pick.randrange(256)}.{pick.randrange(256)}"
        for _ in range(LISTED)
    ]
    part = Path(f"{file}.part")
    part.write_text("\n".join(lines))
    part.rename(file)


def marker(turn):
    return f"102.200.0.{turn % 256}"


def republish(file, turn, gateway):
    """Replaces the list; the seconds until its new entry holds."""
    write_feed(file, turn)
    began = time.monotonic()
    while not covers(gateway, marker(turn)):
        if time.monotonic() - began > 30:
            raise RigError("the feed was not taken up within 30 s")
        time.sleep(0.05)
    return time.monotonic() - began


def covers(gateway, address):
    return bool(admin(gateway, f"/decisions?covering={address}")["decisions"])


def admin(gateway, path, body=None):
    """One question to the operator's listener, or one order."""
    token = (WORK / gateway.name / "data" / "admin.token").read_text().strip()
    request = urllib.request.Request(
        f"http://127.0.0.1:{gateway.admin}{path}",
        data=body and json.dumps(body).encode(),
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


class deciding:
    """Adds decisions at a steady pace while the `with` block runs."""

    def __init__(self, gateway):
        self._gateway = gateway
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._decide)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _decide(self):
        pick = random.Random()
        while not self._over.wait(1 / PER_SECOND):
            subject = f"10.{pick.randrange(256)}.{pick.randrange(256)}.{pick.randrange(256)}"
            admin(self._gateway, "/decisions", {"subject": subject, "for_secs": 3600})
