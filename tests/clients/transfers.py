"""wget, wget2 and curl: pages, large files, uploads, and scripts that are run as they come.

Outside of `/api/*` a site may turn bare libraries away. Then they must know: whoever is told that all went
well has what was asked for, whole.
"""

import hashlib
import os

import origins
from case import case, expect, refused

LARGE = 4 << 20
SCRIPT = "echo installed > done\n"


def prepare(stage):
    files = origins.folder(stage, "files")
    (files / "api").mkdir()
    (files / "api/large.iso").write_bytes(os.urandom(LARGE))
    os.link(files / "api/large.iso", files / "large.iso")
    (files / "api/install.sh").write_text(SCRIPT)
    os.link(files / "api/install.sh", files / "install.sh")


def has(at, file):
    """Whether the large file has arrived."""
    got = at.home / file
    return got.is_file() and digest(got) == digest(at.origin / "large.iso")


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


FETCHES = {
    "wget": ("wget", "-q", "-t", "1", "-O", "got"),
    "wget2": ("wget2", "-q", "--tries=1", "-O", "got"),
    "curl": ("curl", "-fsSL", "-o", "got"),
    "curl in four ranges": ("curl", "-fsSL", "-o", "got", "-r", f"0-{LARGE - 1}"),
}
for name, command in FETCHES.items():
    @case("files", f"{name} of a large file below /api/")
    def fetch(at, command=command):
        at.run(*command, at.url("api/large.iso"))
        expect(has(at, "got"), "what was fetched is not what is there")

    @case("files", f"{name} of a large file anywhere: whole, or an error")
    def fetch_anywhere(at, command=command):
        ended = at._run((*command, at.url("large.iso")))
        # wget2 1.99.1 ends with 0 after any 403, and has nothing.
        nothing = command[0] == "wget2" and not (at.home / "got").exists()
        expect(ended.returncode or nothing or has(at, "got"), "it said that all is well, and has something else")

    @refused("files", f"{name} of a large file")
    def fetch_refused(at, command=command):
        if command[0] != "wget2":
            return at.fails(*command, at.url("large.iso"))
        # wget2 1.99.1 ends with 0 after any 403: what tells is that it has nothing.
        at._run((*command, at.url("large.iso")))
        got = at.home / "got"
        expect(not got.exists() or got.stat().st_size == 0, "it has what looks like a download")


@case("files", "curl -fsSL … | sh below /api/")
def install(at):
    at.run("sh", "-c", f"curl -fsSL {at.url('api/install.sh')} | sh")
    expect((at.home / "done").exists(), "the script did not run")


@refused("files", "curl -fsSL … | sh")
def install_refused(at):
    # Nothing reaches the shell, and curl itself says that it failed.
    at.fails("bash", "-c", f"set -o pipefail; curl -fsSL {at.url('install.sh')} | tee got | sh")
    got = at.home / "got"
    expect(not got.exists() or b"<" not in got.read_bytes(), "a page of the tarpit went to the shell")


@case("dav", "curl -T of 2 MiB below /api/, 20 times")
def upload(at):
    file = at.given("file", os.urandom(2 << 20))
    for number in range(20):
        at.run("curl", "-fsS", "-T", file, at.url(f"api/{at.name}/file-{number}"))
    arrived = list((at.origin / "api" / at.name).iterdir())
    expect(len(arrived) == 20 and all(digest(one) == digest(file) for one in arrived), "not all has arrived")


@case("dav", "curl -T anywhere: stored, or an error")
def upload_anywhere(at):
    file = at.given("file", os.urandom(2 << 20))
    for number in range(3):
        ended = at._run(("curl", "-fsS", "-T", file, at.url(f"{at.name}/file-{number}")))
        stored = at.origin / at.name / f"file-{number}"
        expect(ended.returncode or (stored.exists() and digest(stored) == digest(file)), "a write was swallowed")


@refused("dav", "curl -T, and curl -X DELETE")
def upload_refused(at):
    at.given("file", os.urandom(64 << 10))
    (at.origin / at.name).mkdir()
    (at.origin / at.name / "kept").write_text("kept")
    with at.untouched(at.name):
        at.fails("curl", "-fsS", "-T", "file", at.url(f"{at.name}/file"))
        at.fails("curl", "-fsS", "--http1.1", "-T", "file", at.url(f"{at.name}/other"))
        at.fails("curl", "-fsS", "-X", "DELETE", at.url(f"{at.name}/kept"))
        at.fails("curl", "-fsSI", at.url(f"{at.name}/kept"))


@case("dav", "an AI crawler's name: every write is refused, and nothing is changed")
def named(at):
    at.given("file", "text")
    (at.origin / at.name).mkdir()
    (at.origin / at.name / "kept").write_text("kept")
    with at.untouched(at.name):
        for words in (["-T", "file"], ["-X", "DELETE"], ["-d", "x"], ["-I"], ["-X", "PROPFIND"]):
            at.fails("curl", "-fsS", "-A", "GPTBot/1.2", *words, at.url(f"{at.name}/kept"))


@case("files", "an AI crawler's name: no download that looks complete")
def named_download(at):
    for path in ("large.iso", "install.sh", "npm/-/module-1-1.0.0.tgz"):
        at.fails("wget", "-q", "-t", "1", "-U", "CCBot/2.0", "-O", "got", at.url(path))
        at.fails("curl", "-fsS", "-A", "CCBot/2.0", "-o", "got", at.url(path))
