"""Feed readers: feedparser and Newsboat read many feeds of one host."""

import origins
from case import case, expect, refused

FEEDS = 40
FEED = """<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0"><channel><title>feed {number}</title><link>https://example.org/{number}</link>
<description>d</description><item><title>entry of {number}</title><link>https://example.org/{number}/1</link>
<guid>https://example.org/{number}/1</guid></item></channel></rss>
"""
PARSE = """
import sys
import feedparser
for number in range(int(sys.argv[2])):
    read = feedparser.parse(f"{sys.argv[1]}feeds/{number}.xml")
    if read.get("status") != 200 or read.entries[0].title != f"entry of {number}":
        sys.exit(f"feed {number}: {read.get('status')} {read.get('bozo_exception')}")
"""


def prepare(stage):
    place = origins.folder(stage, "files") / "feeds"
    place.mkdir()
    for number in range(FEEDS):
        (place / f"{number}.xml").write_text(FEED.format(number=number))


@case("files", f"feedparser reads {FEEDS} feeds, three times")
def parse(at):
    for _ in range(3):
        at.python(PARSE, at.url(), FEEDS)


@refused("files", "feedparser")
def parse_refused(at):
    at.python_fails(PARSE, at.url(), 1)


@case("files", f"Newsboat reads {FEEDS} feeds, three times")
def newsboat(at):
    for _ in range(3):
        reload(at)
    unread = at.run(*words(at), "-x", "print-unread").split()[0]
    expect(int(unread) == FEEDS, f"it has {unread.decode()} unread articles of {FEEDS}")


@refused("files", "Newsboat")
def newsboat_refused(at):
    # It ends with 0 however many feeds failed: what tells is that it has nothing, and says why.
    reload(at)
    unread = at.run(*words(at), "-x", "print-unread").split()[0]
    expect(unread == b"0", f"it has {unread.decode()} articles of what should have been an error")
    expect(b"error" in (at.home / "log").read_bytes().lower(), "it logged no error")


def words(at):
    return ["newsboat", "-q", "-u", at.home / "urls", "-c", at.home / "cache.db", "-C", at.home / "config",
            "-l", "4", "-d", at.home / "log"]


def reload(at):
    at.given("urls", "".join(f"{at.url(f'feeds/{number}.xml')}\n" for number in range(FEEDS)))
    at.given("config", "reload-threads 8\ndownload-retries 1\n")
    at.run(*words(at), "-x", "reload")
