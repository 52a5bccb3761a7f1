"""What became of a table."""

import dataclasses

# Faults that are shown of one table.
SHOWN = 12
# Of the gateway's memory, whatever is sent to it.
MOST_RSS_MIB = 256


@dataclasses.dataclass
class Result:
    cases: int = 0
    # One line each.
    faults: list = dataclasses.field(default_factory=list)
    # How often each fault of the list could not be kept.
    more_faults: int = 0
    notes: list = dataclasses.field(default_factory=list)
    # What nginx did with the same.
    beside: str = ""

    def fault(self, what):
        if len(self.faults) < 10 * SHOWN:
            self.faults.append(what)
        else:
            self.more_faults += 1

    def require(self, holds, what):
        if not holds:
            self.fault(what)

    def note(self, what):
        self.notes.append(str(what))

    def person(self, person):
        """A person beside must not have failed once."""
        self.note(person)
        self.require(not person.failed and person.asked, f"person beside: {person.failed} of {person.asked} failed: {person.why}")

    def server(self, server):
        """The gateway must be there still, and have stayed within its memory."""
        self.require(server.alive, "the gateway ended")
        if server.alive:
            peak = server.peak_mib()
            self.note(f"RSS {peak:.0f} MiB")
            self.require(peak < MOST_RSS_MIB, f"RSS {peak:.0f} MiB, {MOST_RSS_MIB} may be")

    @property
    def failed(self):
        return len(self.faults) + self.more_faults
