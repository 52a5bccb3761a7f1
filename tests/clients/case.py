"""What a case is, and what it may say of the program that it runs."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

from stage import AUTHORITIES

CASES = []
# A program that hangs is one that does not fail.
LONGEST = 60


class Failed(Exception):
    """The program did not do what it must."""


class Case:
    def __init__(self, site, name, does, ways):
        self.site, self.name, self.does, self.ways = site, name, does, ways


def case(site, name):
    """A program that must do its job; the function gets its `Place`."""
    return lambda does: CASES.append(Case(site, name, does, ["served"])) or does


def refused(site, name):
    """A program that is turned away by an operator, held or denied: it must say so, and nothing may change.

    The function runs once for each of these ways, each at a seat of its own.
    """
    return lambda does: CASES.append(Case(site, name, does, ["held", "denied"])) or does


def expect(holds, what):
    if not holds:
        raise Failed(what)


class Place:
    """Where a program runs: a seat, an empty home, and the origin's folder."""

    def __init__(self, seat, way, stage):
        self.seat, self.way, self.host = seat, way, seat.host
        self.origin = stage.folder / "origin" / seat.site
        self.home = stage.folder / "homes" / seat.host
        self.home.mkdir(parents=True)
        # The origin's part of this case alone: others run beside it.
        self.name = seat.host.partition(".")[0]
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", "NO_COLOR": "1",
            "TMPDIR": str(self.home), "SSL_CERT_FILE": AUTHORITIES, "REQUESTS_CA_BUNDLE": AUTHORITIES,
            "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "Somebody",
            "GIT_CONFIG_KEY_1": "user.email", "GIT_CONFIG_VALUE_1": "somebody@example.org",
        }

    def url(self, path="", scheme="https"):
        return f"{scheme}://{self.host}/{path}"

    def run(self, *command, **more):
        """Runs a program that has to succeed; answers what it printed."""
        ended = self._run(command, **more)
        if ended.returncode:
            raise Failed(f"{command[0]} ended with {ended.returncode}: {tail(ended.stderr or ended.stdout)}")
        return ended.stdout

    def fails(self, *command, **more):
        """Runs a program that has to say that it failed."""
        ended = self._run(command, **more)
        if not ended.returncode:
            raise Failed(f"{command[0]} ended with 0, as if all were well: {tail(ended.stdout)}")

    def python(self, script, *words):
        return self.run(sys.executable, "-B", "-c", script, *words)

    def python_fails(self, script, *words):
        self.fails(sys.executable, "-B", "-c", script, *words)

    def fails_with(self, code, script, *words):
        """Runs a script that has to end with this code, and with no other."""
        ended = self._run([sys.executable, "-B", "-c", script, *words])
        expect(ended.returncode == code, f"it ended with {ended.returncode}: {tail(ended.stderr)}")

    def _run(self, command, cwd=None, env=(), given=None):
        try:
            return subprocess.run(
                [str(word) for word in command], cwd=cwd or self.home, env={**self.env, **dict(env)},
                input=given, stdin=None if given else subprocess.DEVNULL, capture_output=True,
                timeout=LONGEST)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{command[0]} did not end within {LONGEST} s: {tail(late.stderr)}") from None

    def given(self, path, data):
        """A file of the program's own."""
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        return file

    @contextlib.contextmanager
    def untouched(self, *parts):
        """The origin's own part must be the same after as before."""
        folder = self.origin.joinpath(*parts)
        before = content(folder)
        yield
        expect(content(folder) == before, f"the origin's {folder.name} was changed")


def content(folder):
    """What is below a folder, by name."""
    files = sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def tail(text):
    lines = (text or b"").decode(errors="replace").strip().splitlines()
    return " | ".join(lines[-4:])[-500:] or "nothing was said"


def attempt(one, place):
    """Runs a case; answers how long it took, and what was wrong with it, if anything."""
    began = time.monotonic()
    try:
        one.does(place)
        wrong = None
    except Failed as failed:
        wrong = str(failed)
    except Exception as error:  # A case's own fault is a failure of that case alone.
        wrong = f"{type(error).__name__}: {error}"
    shutil.rmtree(place.home, ignore_errors=True)
    return time.monotonic() - began, wrong
