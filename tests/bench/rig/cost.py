"""CPU time per proxied request of every proxy, in interleaved rounds."""

from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from rig import peers
from rig.load import measure, wrk
from rig.report import Target, progress
from rig.rounds import interleaved

# What each target says, of whom, at most how many times whose cost.
TARGETS = [
    ("Thornwall without filters", peers.NO_FILTERS, 1.1, "bare_pingora"),
    ("Thornwall without the model", peers.NO_MODEL, 1.25, "bare_pingora"),
    ("Thornwall with the model on every request", peers.SCORED, 1.5, "bare_pingora"),
    ("Thornwall as shipped", peers.SHIPPED, 1.5, "bare_pingora"),
    ("Thornwall as shipped", peers.SHIPPED, 2 / 3, peers.LUA),
    ("Thornwall with the model on every request", peers.SCORED, 2 / 3, peers.LUA),
]
# By how much a Thornwall may cost more than one of another build.
MOST_GROWTH = 1.05


@dataclass
class Cost:
    """What was measured of one proxy, a value per round."""

    runs: list
    rss_mib: float = 0.0

    @property
    def cpu_us(self):
        return [run.total_us for run in self.runs]

    def part_us(self, process):
        return median(run.cpu_us[process] for run in self.runs)

    def of_load(self, fact):
        return median(getattr(run.load, fact) for run in self.runs)


def measured(names, site, rounds, seconds, load=wrk):
    """The cost of each named proxy. Every round meets all of them, in an order of its own."""
    costs = {name: Cost([]) for name in names}
    with ExitStack() as stack:
        running = {name: stack.enter_context(peers.PEERS[name][1](site)) for name in names}
        for turn, name in interleaved(names, rounds):
            run = measure(running[name], seconds, "browser", load=load)
            costs[name].runs.append(run)
            progress(f"round {turn}/{rounds}  {name:22} {run.total_us:6.1f} us")
        for name in names:
            costs[name].rss_mib = running[name].rss_mib()
    return costs


def ratio(costs, name, base):
    """The median of the rounds' ratios, None where one of the two was not measured."""
    if name not in costs or base not in costs:
        return None
    return median(
        one / other for one, other in zip(costs[name].cpu_us, costs[base].cpu_us, strict=True)
    )


def targets(costs):
    """The targets that can be judged from what was measured."""
    for what, name, most, base in TARGETS:
        found = ratio(costs, name, base)
        if found is None:
            continue
        base_says = peers.PEERS[base][0]
        of_nginx = ratio(costs, name, "nginx")
        beside = f", {of_nginx:.2f} x nginx" if of_nginx is not None else ""
        yield Target(
            f"{what}: at most {most:.2f} x {base_says}",
            f"{found:.2f} x {base_says}{beside}",
            found <= most,
        )
    yield from _growth(costs)


def _growth(costs):
    """Each Thornwall beside the same one of another build."""
    for name in costs:
        before = name + peers.BASELINE
        grown = ratio(costs, name, before)
        if grown is not None:
            yield Target(
                f"{peers.PEERS[name][0]}: at most {MOST_GROWTH:.2f} x what it was before",
                f"{grown:.2f} x, RSS {costs[name].rss_mib:.1f} MiB, "
                f"was {costs[before].rss_mib:.1f} MiB",
                grown <= MOST_GROWTH,
            )


def table(proxies):
    """The results as Markdown, from the summary of each proxy."""
    lines = [
        "| proxy, one worker | CPU us per request, median (min-max) | x bare Pingora | x nginx "
        "| requests/s | p50 ms | p99 ms | RSS MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, facts in proxies.items():
        label = peers.PEERS[name][0]
        for part, cpu_us in facts["parts_us"].items():
            if part.startswith("redis"):
                label += f" (Redis: {cpu_us:.1f} us of it)"
        cells = [
            label,
            f"{facts['cpu_us']:.1f} ({facts['cpu_us_min']:.1f}-{facts['cpu_us_max']:.1f})",
            _times(facts["x_bare_pingora"]),
            _times(facts["x_nginx"]),
            f"{facts['requests_per_second']:,.0f}",
            f"{facts['p50_ms']:.2f}",
            f"{facts['p99_ms']:.2f}",
            f"{facts['rss_mib']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(costs, name):
    """One proxy's results as plain values."""
    cost = costs[name]
    return {
        "cpu_us": median(cost.cpu_us),
        "cpu_us_min": min(cost.cpu_us),
        "cpu_us_max": max(cost.cpu_us),
        "cpu_us_rounds": cost.cpu_us,
        "parts_us": {process: cost.part_us(process) for process in cost.runs[0].cpu_us},
        "x_bare_pingora": ratio(costs, name, "bare_pingora"),
        "x_nginx": ratio(costs, name, "nginx"),
        "requests_per_second": median(run.load.requests / run.load.seconds for run in cost.runs),
        "p50_ms": cost.of_load("p50_ms"),
        "p99_ms": cost.of_load("p99_ms"),
        "rss_mib": cost.rss_mib,
    }


def _times(value):
    return "" if value is None else f"{value:.2f}"
