"""Package managers at registries that are files: Cargo, npm, pip and APT, each with a burst of packages."""

import base64
import gzip
import hashlib
import io
import json
import os
import pathlib
import sys
import tarfile
import zipfile

import origins
from case import case, expect, refused

# How many packages each has to bring: what a project of some size asks for in one go.
CRATES, MODULES, WHEELS, DEBS = 120, 150, 60, 150


def prepare(stage):
    files = origins.folder(stage, "files")
    cargo_registry(files, [seat.host for seat, _ in stage.seats if seat.site == "files"])
    npm_registry(files)
    simple_index(files)
    apt_archive(files)


@case("files", f"cargo fetch of {CRATES} crates from a sparse registry")
def cargo(at):
    at.run("cargo", "fetch", cwd=project(at), env={"CARGO_HTTP_CAINFO": at.env["SSL_CERT_FILE"]})
    got = list((at.home / "cargo/registry/cache").rglob("*.crate"))
    expect(len(got) == CRATES, f"{len(got)} crates of {CRATES} are there")


@refused("files", "cargo fetch")
def cargo_refused(at):
    env = {"CARGO_HTTP_CAINFO": at.env["SSL_CERT_FILE"], "CARGO_NET_RETRY": "0"}
    at.fails("cargo", "fetch", cwd=project(at), env=env)


def project(at):
    """A project that wants all crates; the tool chain is the machine's."""
    wanted = "".join(f'dep-{number} = "1"\n' for number in range(CRATES))
    at.given("project/Cargo.toml", f'[package]\nname = "p"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n{wanted}')
    at.given("project/src/lib.rs", "")
    index = at.url(f"index/{at.host}/")
    at.given("cargo/config.toml", f'[source.crates-io]\nreplace-with = "t"\n[source.t]\nregistry = "sparse+{index}"\n')
    at.env.update(tool_chain(), CARGO_HOME=str(at.home / "cargo"))
    return at.home / "project"


@case("files", "npm install of 3 packages, then of %d" % MODULES)
def npm(at):
    npm_install(at, at.run, 3)
    npm_install(at, at.run, MODULES)
    got = list((at.home / "project/node_modules").glob("module-*/package.json"))
    expect(len(got) == MODULES, f"{len(got)} packages of {MODULES} are there")


@refused("files", "npm install")
def npm_refused(at):
    npm_install(at, at.fails, 3)


def npm_install(at, run, many):
    wanted = {f"module-{number}": "1.0.0" for number in range(many)}
    project = at.given("project/package.json", json.dumps({"name": "p", "version": "1.0.0", "dependencies": wanted}))
    run("npm", "install", "--no-audit", "--no-fund", "--fetch-retries=0", f"--registry={at.url('npm/')}",
        cwd=project.parent, env={"NODE_EXTRA_CA_CERTS": at.env["SSL_CERT_FILE"], "npm_config_update_notifier": "false"})


@case("files", f"pip install of {WHEELS} wheels from a simple index")
def pip(at):
    pip_install(at, at.run)
    got = list((at.home / "got").glob("wheel_[0-9]*/__init__.py"))
    expect(len(got) == WHEELS, f"{len(got)} packages of {WHEELS} are there")


@refused("files", "pip install")
def pip_refused(at):
    pip_install(at, at.fails)


def pip_install(at, run):
    run(sys.executable, "-m", "pip", "install", "--no-cache-dir", "--retries", "0", "--disable-pip-version-check",
        "--no-compile", "--cert", at.env["SSL_CERT_FILE"], "--index-url", at.url("simple/"), "--target", at.home / "got", "wheel-all")


@case("files", f"apt-get update and download of {DEBS} packages")
def apt(at):
    apt_get(at, at.run, "update")
    apt_get(at, at.run, "download", *(f"deb-{number}" for number in range(DEBS)))
    got = list(at.home.glob("*.deb"))
    expect(len(got) == DEBS, f"{len(got)} packages of {DEBS} are there")


@refused("files", "apt-get update")
def apt_refused(at):
    apt_get(at, at.fails, "update")


def apt_get(at, run, *words):
    """APT with folders of its own: the system's lists and settings stay as they are."""
    at.given("apt/sources.list", f"deb [trusted=yes] {at.url('apt/', 'http')} ./\n")
    for folder in ("state/lists/partial", "cache/archives/partial", "etc"):
        (at.home / "apt" / folder).mkdir(parents=True, exist_ok=True)
    at.given("apt/state/status", "")
    own = {
        "Dir::Etc::sourcelist": at.home / "apt/sources.list", "Dir::Etc::sourceparts": "-",
        "Dir::Etc::main": "-", "Dir::Etc::parts": "-", "Dir::State": at.home / "apt/state",
        "Dir::State::status": at.home / "apt/state/status", "Dir::Cache": at.home / "apt/cache",
        "APT::Sandbox::User": "root", "Acquire::Retries": 0, "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none", "APT::Architecture": "amd64"}
    run("apt-get", "-q", *(f"-o{name}={value}" for name, value in own.items()), *words)


def tool_chain():
    """Where rustup keeps what it would else look for below HOME."""
    home = pathlib.Path(os.environ.get("RUSTUP_HOME", pathlib.Path.home() / ".rustup"))
    return {"RUSTUP_HOME": str(home)} if home.is_dir() else {}


def packed(files):
    """A .tar.gz of names and contents."""
    bytes_ = io.BytesIO()
    with tarfile.open(fileobj=bytes_, mode="w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return bytes_.getvalue()


def cargo_registry(files, hosts):
    """A sparse index: a line of JSON per version. Its `dl` names a host, so each host has its own."""
    crates = files / "crates"
    crates.mkdir()
    lines = {}
    for number in range(CRATES):
        name = f"dep-{number}"
        manifest = f'[package]\nname = "{name}"\nversion = "1.0.0"\nedition = "2021"\n'
        data = packed({f"{name}-1.0.0/Cargo.toml": manifest, f"{name}-1.0.0/src/lib.rs": ""})
        (crates / f"{name}-1.0.0.crate").write_bytes(data)
        lines[f"de/p-/{name}"] = json.dumps({
            "name": name, "vers": "1.0.0", "deps": [], "features": {}, "yanked": False,
            "cksum": hashlib.sha256(data).hexdigest()})
    for host in hosts:
        index = files / "index" / host
        (index / "de/p-").mkdir(parents=True)
        (index / "config.json").write_text(json.dumps({"dl": f"https://{host}/crates/{{crate}}-{{version}}.crate"}))
        for place, line in lines.items():
            (index / place).write_text(line + "\n")


def npm_registry(files):
    """A document per package; npm puts its own registry's host in place of the public one's."""
    for number in range(MODULES):
        name = f"module-{number}"
        data = packed({"package/package.json": json.dumps({"name": name, "version": "1.0.0"})})
        (files / "npm/-").mkdir(parents=True, exist_ok=True)
        (files / "npm/-" / f"{name}-1.0.0.tgz").write_bytes(data)
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
        tarball = f"https://registry.npmjs.org/npm/-/{name}-1.0.0.tgz"
        version = {"name": name, "version": "1.0.0", "dist": {"tarball": tarball, "integrity": integrity}}
        document = {"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        (files / "npm" / name).write_text(json.dumps(document))


def simple_index(files):
    """The index of PEP 503: a page of links per project."""
    names = [f"wheel-{number}" for number in range(WHEELS)]
    for name, wants in [(name, []) for name in names] + [("wheel-all", names)]:
        module = name.replace("-", "_")
        page = files / "simple" / name
        page.mkdir(parents=True)
        wheel = f"{module}-1.0-py3-none-any.whl"
        info = f"{module}-1.0.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n" + "".join(f"Requires-Dist: {want}\n" for want in wants)
        with zipfile.ZipFile(page / wheel, "w") as archive:
            archive.writestr(f"{module}/__init__.py", "")
            archive.writestr(f"{info}/METADATA", metadata)
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        (page / "index.html").write_text(f'<!doctype html><a href="{wheel}">{wheel}</a>')


def apt_archive(files):
    """A flat archive (sources.list(5)): `Packages` beside the packages."""
    archive = files / "apt"
    archive.mkdir()
    entries = []
    for number in range(DEBS):
        name = f"deb-{number}"
        control = f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: t\n"
        data = deb(control)
        file = f"{name}_1.0_all.deb"
        (archive / file).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        entries.append(f"{control}Filename: ./{file}\nSize: {len(data)}\nSHA256: {digest}\n")
    index = "\n".join(entries).encode()
    sums = ""
    for name, data in (("Packages", index), ("Packages.gz", gzip.compress(index))):
        (archive / name).write_bytes(data)
        sums += f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n"
    (archive / "Release").write_text(f"Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n{sums}")


def deb(control):
    """The format of deb(5): an ar(5) archive of three members."""
    members = {"debian-binary": b"2.0\n", "control.tar.gz": packed({"./control": control}), "data.tar.gz": packed({})}
    out = b"!<arch>\n"
    for name, data in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out
