"""Processes of the benchmark: start, wait until ready, read CPU time and memory, end."""

import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from rig import certificates
from rig.host import WORK, RigError

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
START_SECONDS = 20


class Process:
    """A long-lived process and whatever it forks; ended on leaving the `with` block."""

    def __init__(self, name, command, environment=None, cwd=WORK):
        self.name = name
        self._log = WORK / f"{name}.log"
        self._began = time.monotonic()
        # Seconds from the start until it answered.
        self.ready_secs = None
        with open(self._log, "wb") as log:
            self._child = subprocess.Popen(
                # A benchmark that is killed takes what it started along.
                ["setpriv", "--pdeathsig", "TERM", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._child.terminate()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    @contextmanager
    def stopped(self):
        """It stands still as long as the `with` block lasts."""
        self._child.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._child.send_signal(signal.SIGCONT)

    def wait_until_ready(self, url):
        """Returns once `url` is answered with 200."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                raise RigError(f"{self.name} ended at start:\n{self.log_tail()}")
            if status(url) == 200:
                self.ready_secs = time.monotonic() - self._began
                return
            time.sleep(0.05)
        raise RigError(f"{self.name} is not ready at {url}:\n{self.log_tail()}")

    def log_tail(self):
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])

    def cpu_seconds(self):
        """User and system time of the process and its children until now."""
        return sum(_ticks(pid) for pid in self._pids()) / TICKS_PER_SECOND

    def rss_mib(self):
        """Resident memory of the process and its children."""
        return sum(_kib(pid, "VmRSS") for pid in self._pids()) / 1024

    def forget_peak(self):
        """From here on, `peak_mib` tells the most since now."""
        for pid in self._pids():
            # proc_pid_clear_refs(5): 5 resets the peak.
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_mib(self):
        """The most resident memory since `forget_peak`."""
        return sum(_kib(pid, "VmHWM") for pid in self._pids()) / 1024

    def _pids(self):
        children = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(_stat(stat)[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(stat.parent.name))
        found, pending = [], [self._child.pid]
        while pending:
            pid = pending.pop()
            found.append(pid)
            pending += children.get(pid, [])
        return found


def status(url, headers=None):
    """The status of one GET, None where there was no answer."""
    try:
        request = urllib.request.Request(url, headers=headers or {})
        trust = None
        if url.startswith("https:"):
            trust = ssl.create_default_context(cafile=certificates.authority()[0])
        with urllib.request.urlopen(request, timeout=5, context=trust) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def _stat(path):
    # The second field is the command in parentheses and may hold anything.
    return path.read_text().rpartition(")")[2].split()


def _ticks(pid):
    # utime and stime are fields 14 and 15 of proc_pid_stat(5); what is left begins at field 3.
    fields = _stat(Path(f"/proc/{pid}/stat"))
    return int(fields[11]) + int(fields[12])


def _kib(pid, field):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return 0
