"""Ten thousand scrapers held in the tarpit: memory, CPU, and what they cost everybody else."""

import time
from contextlib import ExitStack
from statistics import median

from rig import certificates, thornwall
from rig.crowd import SIZE, WAYS, Crowd
from rig.host import RigError
from rig.load import measure
from rig.report import Target, progress
from rig.rounds import interleaved

CHUNK_SECONDS = 5
# One rung: whoever is suspicious is held.
LADDER = {"tarpit": 0.5}


def measured(site, rounds, seconds, quiet_seconds):
    """The crowd over plain HTTP/1.1 with requests beside it, and alone over the other protocols."""
    found = _beside_requests(site, rounds, seconds, quiet_seconds)
    found["secure"] = {
        over: _alone(site, over, quiet_seconds) for over, (_, tls) in WAYS.items() if tls
    }
    return found


def _alone(site, over, quiet_seconds):
    certificate = certificates.made("ecdsa")
    name = f"thornwall_tarpit_{over}"
    running = thornwall.running(name, site.origin, ladder=LADDER, certificate=certificate)
    with running as holding:
        idle_mib = holding.process.rss_mib()
        with Crowd(holding.port, over) as crowd:
            core, held_mib = _held(holding, crowd, WAYS[over][0], quiet_seconds)
            crowd.end()
    return {
        "held_kib_each": (held_mib - idle_mib) * 1024 / SIZE,
        "core_share": core,
        "chunks_per_connection_per_interval": _chunks(crowd),
    }


def _held(holding, crowd, over, quiet_seconds):
    """The share of a core, and the resident MiB, with the whole crowd held and nothing else."""
    progress(f"tarpit: opening {SIZE:,} connections, {over}")
    crowd.wait_until_held()
    # Past the burst of the first chunks.
    time.sleep(CHUNK_SECONDS)
    core = _quiet_core_share(holding, quiet_seconds)
    return core, holding.process.rss_mib()


def _chunks(crowd):
    chunks = crowd.chunk_rate() * CHUNK_SECONDS
    if chunks < 0.5:
        raise RigError(f"the tarpit drips {crowd.chunk_rate():.3f} chunks a second on each")
    return chunks


def _beside_requests(site, rounds, seconds, quiet_seconds):
    """Two gateways alike: one holds the crowd, the other shows what requests cost without it."""
    with ExitStack() as stack:
        holding, free = (
            stack.enter_context(thornwall.running(name, site.origin, ladder=LADDER))
            for name in ("thornwall_tarpit", "thornwall_no_tarpit")
        )
        idle_mib = holding.process.rss_mib()
        crowd = stack.enter_context(Crowd(holding.port))
        core, held_mib = _held(holding, crowd, WAYS["plain"][0], quiet_seconds)
        beside = _beside(holding, free, rounds, seconds)
        crowd.end()
    return {
        "held": crowd.answered,
        "held_mib": held_mib - idle_mib,
        "core_share": core,
        "chunks_per_connection_per_interval": _chunks(crowd),
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
    for turn, gateway in interleaved(costs, rounds):
        # The crowd's own chunks are in the figure: they are part of what it costs.
        run = measure(gateway, seconds, "browser", thornwall.BROWSER)
        costs[gateway].append(run.total_us)
        progress(f"round {turn}/{rounds}  {gateway.name:22} {run.total_us:6.1f} us")
    return costs


def table(found):
    lines = [
        f"| {SIZE:,} held in the tarpit | KiB each | of a core | chunks each {CHUNK_SECONDS} s |",
        "|---|---|---|---|",
    ]
    plain = {
        "held_kib_each": found["held_mib"] * 1024 / SIZE,
        "core_share": found["core_share"],
        "chunks_per_connection_per_interval": found["chunks_per_connection_per_interval"],
    }
    for over, facts in {"plain": plain, **found["secure"]}.items():
        lines.append(
            f"| {WAYS[over][0]} | {facts['held_kib_each']:.1f} | {facts['core_share']:.2%} "
            f"| {facts['chunks_per_connection_per_interval']:.2f} |"
        )
    return "\n".join(lines)
