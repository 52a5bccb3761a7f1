"""A million clients, each seen once and then once more: memory and evictions."""

from rig import thornwall
from rig.host import RigError
from rig.load import wrk
from rig.report import Target, progress

# Bounds the load where the gateway is slower than 2,000 requests a second.
MOST_SECONDS = 500
# Resident memory may move by this much between two passes and be called flat: pages of buffers
# come and go with the load.
FLAT_MIB = 4


def measured(site, count):
    """Two passes of the same `count` distinct clients through rate limiter and heuristics."""
    filters = ("rate_limit", "heuristics")
    with thornwall.running("thornwall_clients", site.origin, filters=filters) as gateway:
        idle_mib = gateway.process.rss_mib()
        rss_mib = []
        for turn in (1, 2):
            progress(f"clients: pass {turn} of {count:,} clients")
            load = wrk(gateway.url, MOST_SECONDS, "crowd", str(count))
            if load.requests < count:
                raise RigError(f"pass {turn}: {load.requests} of {count} clients were served")
            if load.not_2xx:
                raise RigError(f"pass {turn}: {load.not_2xx} of {count} clients were refused")
            rss_mib.append(gateway.process.rss_mib())
        evicted = gateway.total("evict")
    return {
        "clients": count,
        "idle_mib": idle_mib,
        "first_pass_mib": rss_mib[0],
        "second_pass_mib": rss_mib[1],
        "evicted": evicted,
    }


def targets(found):
    clients = f"{found['clients']:,} distinct clients"
    first, second = found["first_pass_mib"], found["second_pass_mib"]
    yield Target(
        f"{clients}: at most 200 MiB resident",
        f"{max(first, second):.1f} MiB (idle {found['idle_mib']:.1f} MiB)",
        max(first, second) <= 200,
    )
    yield Target(
        f"{clients}: memory flat once every client has been seen",
        f"{first:.1f} MiB, after a second pass {second:.1f} MiB",
        second - first <= FLAT_MIB,
    )
    yield Target(
        f"{clients}: evictions are counted",
        f"{found['evicted']:,.0f} evictions",
        found["evicted"] > 0,
    )
