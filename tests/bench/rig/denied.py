"""What a refusal costs, beside a proxied request through the same process."""

from statistics import median

from rig import thornwall
from rig.load import measure
from rig.report import Target, progress
from rig.rounds import interleaved

# Kind of request, forwarded for whom, and whether the site answers it.
KINDS = {
    "proxied": ("browser", thornwall.BROWSER, True),
    "denied": ("scraper", thornwall.SCRAPER, False),
    "listed": ("browser", thornwall.LISTED, False),
}


def measured(site, rounds, seconds):
    """CPU time per request of each kind."""
    costs = {kind: [] for kind in KINDS}
    # One rung: whoever is suspicious is refused, so that nothing is held or slowed.
    with thornwall.running("thornwall_denied", site.origin, ladder={"deny": 0.5}) as gateway:
        for turn, kind in interleaved(KINDS, rounds):
            request, address, answered = KINDS[kind]
            run = measure(gateway, seconds, request, address, answered=answered)
            costs[kind].append(run.total_us)
            progress(f"round {turn}/{rounds}  {kind:22} {run.total_us:6.1f} us")
    return {
        "cpu_us": {kind: median(cost) for kind, cost in costs.items()},
        "denied_to_proxied": _ratio(costs, "denied"),
        "listed_to_proxied": _ratio(costs, "listed"),
    }


def targets(found):
    denied, listed = found["denied_to_proxied"], found["listed_to_proxied"]
    cost = found["cpu_us"]
    yield Target(
        "a denied request costs less CPU than a proxied one",
        f"{denied:.2f} x ({cost['denied']:.1f} us beside {cost['proxied']:.1f} us)",
        denied < 1,
    )
    yield Target(
        "a blocklist hit costs less than half of a proxied request",
        f"{listed:.2f} x ({cost['listed']:.1f} us beside {cost['proxied']:.1f} us)",
        listed < 0.5,
    )


def _ratio(costs, kind):
    return median(one / other for one, other in zip(costs[kind], costs["proxied"], strict=True))
