"""How a person reads the site: a front page, links that are followed, a look, a scroll, the way back."""

import time
from urllib.parse import urlsplit


def read(browser, run, deadline):
    """Reads until the run's pages are read or its time is over."""
    rng = run.rng
    browser.open(run.base + rng.choice(["/", "/", "/index.html"]))
    shot(browser, run)
    wanted = list(run.paths)
    while wanted and time.monotonic() < deadline:
        path = wanted.pop(0)
        linked = browser.click_link(f'a[href="{path}"]')
        if not linked:
            browser.open(run.base + path)
        look(browser, rng)
        if path == "/busy.html":
            shot(browser, run)
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            if not browser.click_link(accept=lambda href: stays(href, run.base)):
                break
            look(browser, rng)
        if rng.random() < 0.15:
            browser.reload()
            look(browser, rng)
        if rng.random() < 0.6 and linked:
            browser.back()
        else:
            browser.open(run.base + "/")
        aside(browser, run)


def stays(href, base):
    """Links that a reader follows: to other pages of this site."""
    parts = urlsplit(href)
    own = parts.scheme in ("", "http", "https") and parts.netloc in ("", urlsplit(base).netloc)
    return own and bool(parts.path) and parts.path.endswith((".html", "/")) and "genindex" not in parts.path


def look(browser, rng):
    time.sleep(rng.uniform(0.1, 0.9))
    if rng.random() < 0.5:
        browser.scroll()
        time.sleep(rng.uniform(0.1, 0.5))


def aside(browser, run):
    """Now and then: a search, a message, the feed's address, a page by its address."""
    draw = run.rng.random()
    if draw < 0.15:
        browser.open(run.base + "/")
        browser.type("#q", run.rng.choice(["apt", "tuple", "kernel module"]))
        browser.click("#search button")
    elif draw < 0.25:
        browser.open(run.base + "/")
        browser.type("#text", "Thank you for the handbook.")
        browser.click("#contact button")
    elif draw < 0.3:
        browser.open(run.base + "/python/about.html#about-these-documents")
    else:
        return
    look(browser, run.rng)


def shot(browser, run):
    if run.shots:
        run.taken += 1
        browser.shot(run.shots / f"{run.name}-{run.taken}.png")
