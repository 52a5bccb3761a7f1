"""What an attack costs the process that it is aimed at, beside the budget that its row has.

`with Cost(server) as cost: …`, then `cost.over(budget)` tells what was more than it may be:
    rss_mib      growth of the resident memory, at its peak, but for pages of the program's file
    descriptors  open at once, more than before
    cpu_secs     of all threads
    kernel_mib   the kernel's memory for the process's own TCP sockets, at its peak
All of it comes from /proc and sock_diag (ss), at the process itself: what an attacker needs is no cost of ours.
"""

import pathlib
import re
import subprocess
import threading

# The whole process, whatever is done to it.
MOST_RSS_MIB = 256
# Between two looks: /proc is cheap, the list of all sockets is not.
EVERY, SOCKETS_EVERY = 0.05, 20
ANONYMOUS = re.compile(r"RssAnon:\s+(\d+) kB")
MEMORY = re.compile(r"skmem:\(r(\d+),rb\d+,t(\d+),tb\d+,f(\d+),w(\d+)")
# Sockets of the gateway: those of clients, and those towards origins.
SOCKETS = "( sport = :8080 or sport = :8443 or sport = :9180 or sport = :9181 or dport = :9100 or dport = :9200 or dport = :9300 or dport = :9400 )"


class Cost:
    def __init__(self, server):
        self.server = server
        self.descriptors = self.kernel_mib = 0.0
        self._over = threading.Event()

    def __enter__(self):
        # The kernel forgets the peak so far (proc(5), clear_refs).
        pathlib.Path(f"/proc/{self.server.process.pid}/clear_refs").write_text("5")
        self.before = self.most = self.anonymous()
        self._cpu, self._descriptors = self.server.cpu_secs(), self.server.descriptors()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._watch.join()
        self.alive = self.server.alive
        if not self.alive:
            self.peak = self.rss_mib = self.cpu_secs = 0.0
            return
        self.peak = self.server.peak_mib()
        self.rss_mib = max(self.most, self.anonymous()) - self.before
        self.cpu_secs = self.server.cpu_secs() - self._cpu

    def anonymous(self):
        status = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text()
        found = ANONYMOUS.search(status)
        # A process that has ended has none.
        return int(found[1]) / 1024 if found else 0.0

    def _look(self):
        turn = 0
        while True:
            try:
                self.most = max(self.most, self.anonymous())
                self.descriptors = max(self.descriptors, self.server.descriptors() - self._descriptors)
            except OSError:
                return
            if turn % SOCKETS_EVERY == 0 or self._over.is_set():
                self.kernel_mib = max(self.kernel_mib, sockets_mib())
            turn += 1
            if self._over.wait(EVERY):
                return

    def over(self, budget):
        """What is above the budget, a line each."""
        lines = []
        for name, most in budget.items():
            spent = getattr(self, name)
            if spent > most:
                lines.append(f"{name} {spent:.1f}, budget {most}")
        if self.peak > MOST_RSS_MIB:
            lines.append(f"rss {self.peak:.0f} MiB in all, budget {MOST_RSS_MIB}")
        if not self.alive:
            lines.append("the process has ended")
        return lines

    def __str__(self):
        return (f"rss +{self.rss_mib:.0f} ({self.peak:.0f}) MiB, {self.cpu_secs:.1f} s CPU, {self.descriptors:.0f} descriptors, "
                f"{self.kernel_mib:.1f} MiB of the kernel's")


def sockets_mib():
    listed = subprocess.run(["ss", "-tmnH", SOCKETS], capture_output=True, text=True, check=False).stdout
    return sum(sum(int(part) for part in found) for found in MEMORY.findall(listed)) / (1 << 20)
