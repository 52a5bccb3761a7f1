"""One attack, in a process of its own: `attack.py '{"how": NAME, …}'` prints what became of it as JSON.

It is as strong as it can be on what the machine has left: an attacker has machines of its own.
"""

import dataclasses
import json
import os
import sys
import threading
import time

import attacks_h1
import attacks_h2

NICENESS = 10


@dataclasses.dataclass
class Aim:
    how: str
    secs: float = 2.0
    # Connections at once.
    count: int = 4
    # Addresses that they come from.
    addresses: int = 1
    port: int = 8080
    host: str = "site.test"
    # Bytes of a chunk, and of all of them on the wire.
    size: int = 1
    most_bytes: int = 1 << 20
    unread: bool = False
    http2: bool = False

    def __post_init__(self):
        self.until = time.monotonic() + self.secs
        self.sources = [f"127.{50 + number // 250}.{number % 250}.7" for number in range(self.addresses)]
        self.told = {"opened": 0, "ended": 0, "refused": 0, "bytes": 0, "served": 0}


def main():
    os.nice(NICENESS)
    aim = Aim(**json.loads(sys.argv[1]))
    if aim.http2:
        threads = [
            threading.Thread(target=attacks_h2.connection, args=(
                aim.how, aim.port, aim.sources[number % aim.addresses], aim.until, aim.told, aim.unread, aim.host))
            for number in range(aim.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        getattr(attacks_h1, aim.how)(aim)
    print(json.dumps(aim.told), flush=True)
    # What is still open goes with the process.
    os._exit(0)


if __name__ == "__main__":
    main()
