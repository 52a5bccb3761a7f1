"""Processes that the lab starts, and ends: each in its own session, so that its children end too."""

import os
import signal
import subprocess
import threading


class Processes:
    """What one run has started."""

    def __init__(self, env, folder):
        self.env = env
        self.folder = folder
        self.started = []
        self.lock = threading.Lock()
        self.closed = False

    def start(self, command, name=None, env=None, stdin=subprocess.DEVNULL, **more):
        log = open(self.folder / f"{name or os.path.basename(str(command[0]))}.log", "ab")
        with log, self.lock:
            if self.closed:
                raise OSError("the run is over")
            process = subprocess.Popen(
                [str(word) for word in command], cwd=self.folder, env={**self.env, **(env or {})},
                stdin=stdin, **{"stdout": log, "stderr": log, **more}, start_new_session=True,
            )
            self.started.append(process)
        return process

    def run(self, command, given=None, timeout=60, **more):
        """Runs a command to its end, or to `timeout`; answers whether it ended by itself."""
        process = self.start(command, stdin=subprocess.PIPE if given else subprocess.DEVNULL, **more)
        try:
            process.communicate(given.encode() if given else None, timeout=timeout)
            return True
        except subprocess.TimeoutExpired:
            return False
        finally:
            end(process)

    def end_all(self):
        with self.lock:
            self.closed = True
        for process in reversed(self.started):
            end(process)


def end(process):
    """Ends a process and its session's other members, by id."""
    for step in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, step)
        except ProcessLookupError:
            break
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            continue
    if process.stdin and not process.stdin.closed:
        process.stdin.close()
