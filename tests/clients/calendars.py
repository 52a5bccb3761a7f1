"""A CalDAV client at Radicale: makes a calendar, fills it, and looks things up."""

from case import case, expect, refused

EVENTS = 25
EVENT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//tests//EN
BEGIN:VEVENT
UID:event-{number}@example.org
DTSTAMP:20260101T000000Z
DTSTART:20260102T{hour:02}0000Z
DTEND:20260102T{hour:02}3000Z
SUMMARY:event {number}
END:VEVENT
END:VCALENDAR
"""
OPEN = """
import sys
import caldav
url, name = sys.argv[1:3]
client = caldav.DAVClient(url=url, username=name, password="x", ssl_verify_cert=True)
"""
FILL = OPEN + """
calendar = client.principal().make_calendar(name="work", cal_id="work")
for event in sys.argv[3:]:
    calendar.save_event(event)
assert len(calendar.events()) == len(sys.argv[3:]), calendar.events()
found = calendar.search(event=True, start=__import__("datetime").datetime(2026, 1, 1), end=__import__("datetime").datetime(2026, 1, 3))
assert len(found) == len(sys.argv[3:]), found
calendar.events()[0].delete()
"""
MAKE = OPEN + """
calendar = client.calendar(url=f"{url}{name}/kept/")
calendar.save_event(sys.argv[3])
"""


def prepare(stage):
    pass


@case("calendar", f"caldav makes a calendar, saves {EVENTS} events, searches and deletes")
def calendar(at):
    at.python(FILL, at.url(), at.name, *(EVENT.format(number=number, hour=number % 24) for number in range(EVENTS)))
    saved = list((at.origin / "collection-root" / at.name / "work").glob("event-*.ics"))
    expect(len(saved) == EVENTS - 1, f"the server has {len(saved)} events")


@refused("calendar", "caldav saves an event")
def calendar_refused(at):
    with at.untouched("collection-root", at.name):
        at.python_fails(MAKE, at.url(), at.name, EVENT.format(number=1, hour=1))
