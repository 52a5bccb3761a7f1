"""Proxying with filters off, beside bare Pingora and nginx, over each protocol."""

from dataclasses import replace

from rig import certificates, cost, peers
from rig.load import h2load, wrk
from rig.report import Target

# Name in the report, whether it needs TLS, who makes the load.
PROTOCOLS = {
    "h1": ("HTTP/1.1", False, wrk),
    "tls": ("HTTP/1.1 over TLS", True, wrk),
    "h2": ("HTTP/2 over TLS", True, h2load),
}
PROXIES = ("nginx", "bare_pingora", peers.NO_FILTERS)
MOST_OF_BARE_PINGORA = 1.1


def measured(protocol, site, rounds, seconds):
    """The cost of each proxy over one protocol."""
    _, tls, load = PROTOCOLS[protocol]
    if tls:
        site = replace(site, certificate=certificates.made("ecdsa"))
    costs = cost.measured(PROXIES, site, rounds, seconds, load)
    return {name: cost.summary(costs, name) for name in PROXIES}


def targets(protocol, found):
    thornwall = found[peers.NO_FILTERS]
    ratio = thornwall["x_bare_pingora"]
    yield Target(
        f"{PROTOCOLS[protocol][0]} with filters off: at most {MOST_OF_BARE_PINGORA:.2f} x "
        "bare Pingora",
        f"{ratio:.2f} x bare Pingora, {thornwall['x_nginx']:.2f} x nginx",
        ratio <= MOST_OF_BARE_PINGORA,
    )


def table(protocol, found):
    return f"{PROTOCOLS[protocol][0]}:\n\n{cost.table(found)}"
