"""Ten million requests of a million distinct clients: memory after each pass."""

from rig import thornwall
from rig.host import RigError
from rig.load import wrk
from rig.report import Target, progress

PASSES = 10
MOST_SECONDS = 900
MOST_GROWTH = 1.05


def measured(site, count):
    filters = ("blocklist", "rate_limit", "heuristics")
    curve = []
    with thornwall.running("thornwall_soak", site.origin, filters=filters) as gateway:
        idle = gateway.process.rss_mib()
        for turn in range(1, PASSES + 1):
            progress(f"soak: pass {turn} of {PASSES}, {count:,} clients each")
            load = wrk(gateway.url, MOST_SECONDS, "crowd", str(count))
            if load.requests < count or load.not_2xx:
                raise RigError(f"pass {turn}: {load.requests} served, {load.not_2xx} refused")
            curve.append(gateway.process.rss_mib())
            progress(f"soak: {curve[-1]:.1f} MiB after pass {turn}")
    return {"clients": count, "idle_mib": idle, "mib_after_pass": curve}


def targets(found):
    curve = found["mib_after_pass"]
    yield Target(
        f"{PASSES * found['clients']:,} requests of {found['clients']:,} clients: memory at the end "
        "within 5 % of that after each was seen once",
        f"{curve[-1]:.1f} MiB, {curve[0]:.1f} MiB after the first pass "
        f"({curve[-1] / curve[0]:.3f} x, idle {found['idle_mib']:.1f} MiB)",
        curve[-1] <= MOST_GROWTH * curve[0],
    )


def table(found):
    cells = [f"{mib:.1f}" for mib in found["mib_after_pass"]]
    heads = [str(turn) for turn in range(1, len(cells) + 1)]
    return "\n".join(
        [
            f"| pass of {found['clients']:,} clients | {' | '.join(heads)} |",
            f"|---|{'---|' * len(cells)}",
            f"| MiB resident | {' | '.join(cells)} |",
        ]
    )
