"""The proxies: each one long-lived process with one worker in front of the same origin."""

import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from rig import thornwall
from rig.certificates import Certificate
from rig.host import BENCH, WORK, built, free_port, installed
from rig.process import Process

ORIGIN_BODY_BYTES = 1024


@dataclass(frozen=True)
class Peer:
    """A running proxy: where it listens, and the processes that work for it."""

    name: str
    url: str
    processes: tuple

    @property
    def port(self):
        return urlsplit(self.url).port

    def cpu_seconds(self):
        return {process.name: process.cpu_seconds() for process in self.processes}

    def rss_mib(self):
        return sum(process.rss_mib() for process in self.processes)

    def forget_peak(self):
        for process in self.processes:
            process.forget_peak()

    def peak_mib(self):
        return sum(process.peak_mib() for process in self.processes)


@dataclass(frozen=True)
class Site:
    """What every proxy is started with."""

    origin: int
    access_log: bool
    # Where one is given, the proxies speak TLS and HTTP/2 with it.
    certificate: Certificate | None = None

    def log_file(self, name):
        return str(WORK / f"{name}.access.log") if self.access_log else None


@contextmanager
def origin():
    """The site behind the proxies; gives its port."""
    port = free_port()
    with _nginx("origin", "origin.conf", listen=port, body="x" * ORIGIN_BODY_BYTES) as process:
        process.wait_until_ready(_url(port))
        yield port


@contextmanager
def bare_pingora(site):
    port = free_port()
    command = [built("bare_pingora"), f"127.0.0.1:{port}", f"127.0.0.1:{site.origin}"]
    if site.access_log:
        command += ["--access-log", site.log_file("bare_pingora")]
    if site.certificate:
        command += ["--chain", str(site.certificate.chain), "--key", str(site.certificate.key)]
    with Process("bare_pingora", command) as process:
        yield _ready("bare_pingora", _url(port, site), process)


@contextmanager
def nginx(site):
    port, certificate = free_port(), site.certificate
    tls = {"tls": "", "certificate": ""}
    if certificate:
        tls["tls"] = "ssl http2"
        tls["certificate"] = (
            f"ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key}; "
            "ssl_protocols TLSv1.2 TLSv1.3; "
            "ssl_session_tickets on; ssl_session_cache shared:bench:50m;"
        )
    with _nginx("nginx", "nginx.conf", site, listen=port, **tls) as process:
        yield _ready("nginx", _url(port, site), process)


@contextmanager
def haproxy(site):
    port = free_port()
    config = _filled(
        "haproxy.cfg",
        "haproxy.cfg",
        listen=port,
        origin=site.origin,
        # HAProxy has no log files: its lines go to standard output, which is its log here.
        log="log stdout format raw local0" if site.access_log else "",
        httplog="log global\n    option httplog" if site.access_log else "",
    )
    with Process("haproxy", [installed("haproxy"), "-db", "-f", config]) as process:
        yield _ready("haproxy", _url(port), process)


def _nginx_lua(name, edge):
    @contextmanager
    def start(site):
        port, redis_port = free_port(), free_port()
        command = [
            *(installed("redis-server"), "--bind", "127.0.0.1", "--port", str(redis_port)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
        ]
        environment = {"REDIS_PORT": str(redis_port), "EDGE": edge}
        values = {"listen": port, "here": BENCH / "peers"}
        with Process(f"redis_{name}", command) as redis:
            nginx_lua = _nginx(name, "nginx_lua.conf", site, environment, **values)
            with nginx_lua as process:
                yield _ready(name, _url(port), process, redis)

    return start


def _thornwall(name, **settings):
    @contextmanager
    def start(site, name=name, program=None):
        log = site.log_file(name)
        chosen = {"access_log": log, "certificate": site.certificate, **settings}
        with thornwall.running(name, site.origin, program, **chosen) as gateway:
            yield Peer(name, gateway.url, (gateway.process,))

    return start


SCORED = "thornwall_scored"
SHIPPED = "thornwall"
NO_MODEL = "thornwall_no_model"
NO_FILTERS = "thornwall_no_filters"
LUA = "nginx_lua"
LUA_TUNED = "nginx_lua_tuned"

# In the order of the report: name, what it says there, how it is started.
PEERS = {
    "nginx": ("nginx `proxy_pass`", nginx),
    "haproxy": ("HAProxy", haproxy),
    "bare_pingora": ("bare Pingora", bare_pingora),
    NO_FILTERS: ("Thornwall, no filters", _thornwall(NO_FILTERS, filters=())),
    NO_MODEL: (
        "Thornwall, three filters, no model",
        _thornwall(NO_MODEL, filters=thornwall.FILTERS[:3]),
    ),
    SHIPPED: ("Thornwall, the four filters as shipped", _thornwall(SHIPPED)),
    SCORED: (
        "Thornwall, four filters, model on every request",
        _thornwall(SCORED, cached_shapes=0),
    ),
    LUA_TUNED: ("nginx + Lua + Redis, tuned", _nginx_lua(LUA_TUNED, "tuned")),
    LUA: ("nginx + Lua + Redis", _nginx_lua(LUA, "plain")),
}


# What the name of another build's Thornwall ends with.
BASELINE = "_before"


def add_baseline(program):
    """Adds another build of Thornwall beside each of ours, with the same configuration."""
    for name in [name for name in PEERS if name.startswith("thornwall")]:
        says, start = PEERS[name]
        other = name + BASELINE
        PEERS[other] = (f"{says}, before", partial(start, name=other, program=program))


def programs(name):
    """The programs whose versions belong to a result."""
    if name in PEERS and name.startswith("thornwall"):
        return {"thornwall"}
    return {"nginx", "redis-server"} if name in (LUA, LUA_TUNED) else {name}


def _nginx(name, template, site=None, environment=None, **values):
    log = site and site.log_file(name)
    values |= {
        "name": name,
        "user": "user root;" if os.geteuid() == 0 else "",
        "access_log": f"{log} combined buffer=64k flush=1s" if log else "off",
        "origin": site.origin if site else "",
    }
    config = _filled(template, f"{name}.conf", **values)
    command = [installed("nginx"), "-e", "stderr", "-p", f"{WORK}/", "-c", config]
    return Process(name, command, environment)


def _filled(template, file, **values):
    text = (BENCH / "peers" / template).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    path = WORK / file
    path.write_text(text)
    return str(path)


def _ready(name, url, process, *others):
    process.wait_until_ready(url)
    return Peer(name, url, (process, *others))


def _url(port, site=None):
    scheme = "https" if site and site.certificate else "http"
    return f"{scheme}://127.0.0.1:{port}/articles/1"
