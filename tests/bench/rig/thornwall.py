"""Thornwall: the configuration that the benchmark writes for it, and its running process."""

import shutil
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rig.certificates import Certificate
from rig.host import ROOT, WORK, RigError, built, free_port
from rig.process import Process

FILTERS = ("blocklist", "rate_limit", "heuristics", "anomaly")
# As shipped.
LADDER = {"throttle": 0.50, "tarpit": 0.80, "deny": 0.95}
# Addresses for documentation (RFC 5737): one that the blocklist names, two that it does not.
LISTED = "203.0.113.9"
BROWSER = "198.51.100.10"
SCRAPER = "198.51.100.11"


@dataclass(frozen=True)
class Settings:
    """What differs between the configurations of a benchmark."""

    origin: int
    listen: int
    admin: int
    data_dir: str
    filters: tuple = FILTERS
    cached_shapes: int | None = None
    ladder: dict = field(default_factory=lambda: LADDER)
    access_log: str | None = None
    # Requests of a client in a second; so many that no load meets them where none is given.
    limit: int | None = None
    max_decisions: int = 1 << 20
    # A file of decisions that are there at the start.
    decisions: Path | None = None
    # A list that is read again each second.
    feed: Path | None = None
    # A Redis that is shared with others.
    redis: str | None = None
    # The table `[escalation]`, and which scores the filter `escalate` takes.
    escalation: str | None = None
    band: str = "{}"
    # Where one is given, the listener speaks TLS and HTTP/2.
    certificate: Certificate | None = None


def config(settings):
    """The configuration as TOML."""
    shapes = settings.cached_shapes
    limit = settings.limit or 1_000_000
    cache = "" if shapes is None else f", cached_shapes = {shapes}"
    kinds = {
        "blocklist": 'blocklist = { files = ["deny.txt"] }',
        "rate_limit": f'rate_limit = {{ key = "client", requests = {limit}, burst = {limit} }}',
        "heuristics": "heuristics = {}",
        "anomaly": f'anomaly = {{ model = "bot_score"{cache} }}',
        "escalate": f"escalate = {settings.band}",
    }
    filters = "\n".join(
        f'[[pipeline.filter]]\nname = "{kind}"\n{kinds[kind]}\n' for kind in settings.filters
    )
    ladder = "\n".join(f"{rung} = {score:.2f}" for rung, score in settings.ladder.items())
    store = f'kind = "redis"\nurl = "{settings.redis}"' if settings.redis else 'kind = "memory"'
    feed = (
        f'[[feed]]\nname = "bench"\nfile = "{settings.feed}"\nevery_secs = 1\n'
        if settings.feed
        else ""
    )
    escalation = f"[escalation]\n{settings.escalation}" if settings.escalation else ""
    certificate = settings.certificate
    tls = (
        f"""tls = true

[[certificate]]
hosts = ["*"]
chain_file = "{certificate.chain}"
key_file = "{certificate.key}"
"""
        if certificate
        else ""
    )
    return f"""
[server]
threads = 1
data_dir = "{settings.data_dir}"
models_dir = "{ROOT / 'models'}"

[admin]
address = "127.0.0.1:{settings.admin}"

[client_address]
trusted_proxies = ["127.0.0.1/32"]

[access_log]
file = "{settings.access_log or 'off'}"

[store]
{store}
max_decisions = {settings.max_decisions}

{feed}
{escalation}
[limits]
# One machine plays all clients, and none of them tires of its connection.
max_connections = 10000
max_connections_per_client = 20000
max_requests_per_client = 20000
idle_timeout_secs = 900
max_requests_per_connection = 1000000000

[tarpit]
max_connections = 12000
max_per_client = 12000
interval_ms = 5000

[[listener]]
address = "127.0.0.1:{settings.listen}"
{tls}
[[upstream]]
name = "origin"
servers = [{{ address = "127.0.0.1:{settings.origin}" }}]

[[site]]
name = "bench"
hosts = ["*"]
upstream = "origin"
pipeline = "bench"

[[pipeline]]
name = "bench"

{filters}
[pipeline.ladder]
{ladder}
"""


@dataclass(frozen=True)
class Gateway:
    """A running Thornwall."""

    name: str
    scheme: str
    port: int
    admin: int
    process: Process

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}/articles/1"

    def cpu_seconds(self):
        return {self.process.name: self.process.cpu_seconds()}

    def metrics(self):
        """Every sample of `/metrics` as (name with labels, value)."""
        url = f"http://127.0.0.1:{self.admin}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return [(sample, float(value)) for sample, _, value in samples]

    def total(self, word):
        """The sum of all counters and gauges whose names hold `word`."""
        found = [value for sample, value in self.metrics() if word in sample.partition("{")[0]]
        if not found:
            raise RigError(f"{self.name}: /metrics has no metric named like {word}")
        return sum(found)


@contextmanager
def running(name, origin, program=None, **settings):
    """Thornwall with settings of its own, ready; of another build where `program` names one."""
    folder = WORK / name
    # Decisions of an earlier run must not meet this one's clients.
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    if settings.get("decisions"):
        shutil.copy(settings["decisions"], folder / "data" / "decisions.redb")
    chosen = Settings(origin, free_port(), free_port(), str(folder / "data"), **settings)
    (folder / "deny.txt").write_text(f"{LISTED}\n")
    file = folder / "thornwall.toml"
    file.write_text(config(chosen))
    with Process(name, [program or built("thornwall"), "run", "-c", str(file)], cwd=ROOT) as process:
        process.wait_until_ready(f"http://127.0.0.1:{chosen.admin}/ready")
        scheme = "https" if chosen.certificate else "http"
        yield Gateway(name, scheme, chosen.listen, chosen.admin, process)
