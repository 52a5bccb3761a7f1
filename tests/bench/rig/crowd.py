"""Many connections that ask once and stay: the process that holds their other ends."""

import json
import select
import subprocess

from rig import certificates
from rig.host import RigError, built

SIZE = 10_000
# Opening the connections, and the load beside them, end long before; a forgotten crowd ends itself.
MOST_SECONDS = 900
OPENING_SECONDS = 180

# What `hold` calls it, what a report does, whether it needs TLS.
WAYS = {
    "plain": ("HTTP/1.1", False),
    "tls": ("HTTP/1.1 over TLS", True),
    "h2": ("HTTP/2 over TLS", True),
}


class Crowd:
    """Ends with the `with` block at the latest."""

    def __init__(self, port, over="plain"):
        command = [built("hold"), f"127.0.0.1:{port}", str(SIZE), str(MOST_SECONDS)]
        command += ["--over", over]
        if WAYS[over][1]:
            command += ["--ca", str(certificates.authority()[0])]
        self._child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._held = self._ended = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._child.terminate()
        self._child.wait(10)

    @property
    def answered(self):
        return self._held["answered"]

    def wait_until_held(self):
        """Returns once every connection was answered."""
        ready, _, _ = select.select([self._child.stdout], [], [], OPENING_SECONDS)
        if not ready:
            raise RigError(f"{SIZE} connections were not answered in {OPENING_SECONDS} s")
        self._held = json.loads(self._child.stdout.readline())
        if self.answered < SIZE:
            raise RigError(f"{self.answered} of {SIZE} connections were answered")

    def end(self):
        """Ends the crowd and checks that it was held to the end."""
        self._child.terminate()
        self._ended = json.loads(self._child.stdout.readline())
        if self._ended["closed"] * 100 > SIZE:
            raise RigError(f"{self._ended['closed']} of {SIZE} connections were closed early")

    def chunk_rate(self):
        """Chunks per second on one connection, once all were held."""
        chunks = self._ended["chunks"] - self._held["chunks"]
        return chunks / SIZE / (self._ended["seconds"] - self._held["seconds"])
