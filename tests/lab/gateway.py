"""Starts a Thornwall gateway before the site, with the pipelines of a shipped configuration.

Everything that decides stays as that configuration says; addresses and files become the lab's own.
"""

import os
import pathlib
import socket
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
ADDRESS = ("127.0.0.1", 8080)


def start(config, processes, work, site, sources):
    """`sources` are the networks that the forwarder connects from: it says who speaks TLS."""
    binary = os.environ.get("THORNWALL", str(ROOT / "target/release/thornwall"))
    if not os.access(binary, os.X_OK):
        sys.exit(f"{binary} is not there; build it with: cargo build --release --bin thornwall")
    folder = work / "gateway"
    folder.mkdir()
    shipped = pathlib.Path(config).resolve() if config else ROOT / "etc" / "thornwall.toml"
    for entry in shipped.parent.iterdir():
        if entry.is_dir() and entry.name != "data":
            (folder / entry.name).symlink_to(entry)
    own = folder / "thornwall.toml"
    written = tomllib.loads(shipped.read_text())
    with_absolute_files(written.get("escalation", {}), shipped.parent)
    own.write_text(toml(adapted(written, site, sources)))
    process = processes.start([binary, "run", "-c", own], name="gateway")
    wait_until_it_listens(process, work / "gateway.log")
    return ADDRESS


def adapted(config, site, sources):
    """The shipped configuration with the lab's own addresses and files."""
    server = config.setdefault("server", {})
    server["data_dir"] = "data"
    server.setdefault("models_dir", str(ROOT / "models"))
    config["admin"] = {"address": "127.0.0.1:9180"}
    config["access_log"] = {"file": "access.log"}
    config["client_address"] = {"trusted_proxies": sources, "header": "x-forwarded-for"}
    config["listener"] = [{"address": "%s:%d" % ADDRESS}]
    config.pop("certificate", None)
    first = (config.get("site") or [{}])[0]
    config["upstream"] = [{"name": "lab", "servers": [{"address": site}]}]
    config["site"] = [{**first, "name": "lab", "hosts": ["*"], "upstream": "lab"}]
    return config


def with_absolute_files(table, folder):
    """The lab's own file stands elsewhere, and a sidecar's secrets stay where they are."""
    for key, value in table.items():
        if key.endswith("_file"):
            table[key] = str(folder / value)


def wait_until_it_listens(process, log):
    deadline = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(ADDRESS, timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the gateway does not listen:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)


def toml(config):
    """Writes what `tomllib` read: tables, arrays of tables, and plain values on one line."""
    lines = []
    for key, value in config.items():
        if not isinstance(value, (dict, list)):
            lines.append(f"{key} = {plain(value)}")
    for key, value in config.items():
        if isinstance(value, dict):
            lines += [f"[{key}]", *(f"{name} = {plain(item)}" for name, item in value.items())]
        elif isinstance(value, list):
            for table in value:
                lines += [f"[[{key}]]", *(f"{name} = {plain(item)}" for name, item in table.items())]
    return "\n".join(lines) + "\n"


def plain(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, list):
        return "[" + ", ".join(plain(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {plain(item)}" for key, item in value.items()) + " }"
    return str(value)
