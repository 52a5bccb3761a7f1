"""A person at a terminal with a text browser: keys go in through a pseudo-terminal, one at a time."""

import fcntl
import os
import pty
import struct
import termios
import threading
import time

# How each browser is told: the next link, follow it, back. All start on a page of the site.
KEYS = {
    "lynx": ("\x1b[B", "\r", "\x1b[D"),
    "w3m": ("\t", "\r", "B"),
    "links2": ("\x1b[B", "\r", "\x1b[D"),
    "elinks": ("\x1b[B", "\r", "\x1b[D"),
}


def read(processes, name, command, run, deadline, env=None):
    """Reads pages until the run's time or number of pages is over: each from its address, then links."""
    for path in ["/", *run.paths]:
        if time.monotonic() > deadline:
            return
        session(processes, name, [*command, run.base + path], run.rng, deadline, env)


def session(processes, name, command, rng, deadline, env):
    keyboard, screen = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 110, 0, 0))
    process = processes.start(command, name=name, env={"TERM": "xterm", **(env or {})}, stdin=screen, stdout=screen, stderr=screen)
    os.close(screen)
    threading.Thread(target=drain, args=(keyboard,), daemon=True).start()
    following, follow, back = KEYS[name]
    try:
        time.sleep(0.8)
        for _ in range(rng.choice([1, 2, 3])):
            for _ in range(rng.randrange(1, 12)):
                os.write(keyboard, following.encode())
                time.sleep(0.02)
            os.write(keyboard, follow.encode())
            time.sleep(rng.uniform(0.4, 0.9))
            if rng.random() < 0.4:
                os.write(keyboard, back.encode())
                time.sleep(0.3)
            if process.poll() is not None or time.monotonic() > deadline:
                break
    except OSError:
        pass
    finally:
        process.terminate()
        try:
            process.wait(2)
        except Exception:
            process.kill()


def drain(screen):
    """Reads what the browser draws, lest it wait for a terminal that does not read; closes it at its end."""
    try:
        while os.read(screen, 65536):
            pass
    except OSError:
        pass
    os.close(screen)
