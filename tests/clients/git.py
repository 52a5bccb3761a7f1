"""Git over its smart protocol, with a real `git http-backend`, and over the dumb one, with files alone."""

import os
import subprocess

import origins
from case import case, expect, refused

# Objects that lie loose in the dumb repository, each a request of its own.
COMMITS = 60


def prepare(stage):
    if "git" not in stage.sites:
        return
    root = origins.folder(stage, "git")
    env = {**os.environ, "HOME": str(stage.folder), "GIT_CONFIG_NOSYSTEM": "1"}
    dumb = root / "dumb.git"
    git = ["git", "-C", dumb]
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", dumb], check=True, env=env)
    made = "".join(commit(number) for number in range(COMMITS))
    subprocess.run([*git, "fast-import", "--quiet"], input=made.encode(), check=True, env=env)
    # What was imported lies in a pack; unpacked it is an object a file, as after daily pushes.
    for pack in list((dumb / "objects/pack").glob("*.pack")):
        data = pack.read_bytes()
        for file in pack.parent.iterdir():
            file.unlink()
        subprocess.run([*git, "unpack-objects", "-q"], input=data, check=True, env=env)
    subprocess.run([*git, "update-server-info"], check=True, env=env)
    for seat, _ in stage.seats:
        if seat.site == "git":
            bare = root / f"{seat.host.partition('.')[0]}.git"
            subprocess.run(["cp", "-a", dumb, bare], check=True)
            subprocess.run(["git", "-C", bare, "config", "http.receivepack", "true"], check=True, env=env)


def commit(number):
    who = f"Somebody <s@example.org> {1700000000 + number} +0000"
    said, text = f"change {number}", f"text {number}\n"
    return (f"commit refs/heads/main\nauthor {who}\ncommitter {who}\ndata {len(said)}\n{said}\n"
            f"M 100644 inline file-{number}\ndata {len(text)}\n{text}\n")


@case("git", "git clone, push and fetch over the smart protocol")
def smart(at):
    url = at.url(f"smart/{at.name}.git")
    at.run("git", "clone", "-q", url, "one")
    at.run("git", "clone", "-q", url, "two")
    # Above a MiB git sends what it pushes in chunks.
    at.given("one/big", os.urandom(3 << 20))
    at.run("git", "add", "big", cwd=at.home / "one")
    at.run("git", "commit", "-q", "-m", "big", cwd=at.home / "one")
    at.run("git", "push", "-q", "origin", "main", cwd=at.home / "one")
    at.run("git", "pull", "-q", "--ff-only", cwd=at.home / "two")
    expect((at.home / "two/big").stat().st_size == 3 << 20, "what was pushed did not arrive")


@case("git", "git ls-remote 40 times in a row")
def watch(at):
    for _ in range(40):
        at.run("git", "ls-remote", at.url(f"smart/{at.name}.git"))


@case("git", f"git clone of {3 * COMMITS} objects over the dumb protocol")
def dumb(at):
    at.run("git", "clone", "-q", at.url("dumb.git"), "work")
    expect(len(list((at.home / "work").glob("file-*"))) == COMMITS, "files are missing")


@refused("git", "git clone")
def clone_refused(at):
    at.fails("git", "clone", "-q", at.url(f"smart/{at.name}.git"), "work")
    at.fails("git", "clone", "-q", at.url("dumb.git"), "work2")


@refused("git", "git push")
def push_refused(at):
    at.run("git", "clone", "-q", at.origin / f"{at.name}.git", "work")
    at.given("work/new", "new")
    at.run("git", "add", "new", cwd=at.home / "work")
    at.run("git", "commit", "-q", "-m", "new", cwd=at.home / "work")
    with at.untouched(f"{at.name}.git"):
        at.fails("git", "push", "-q", at.url(f"smart/{at.name}.git"), "main", cwd=at.home / "work")
