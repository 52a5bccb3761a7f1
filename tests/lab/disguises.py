"""What scrapers pretend to be: the header sets that their authors copy.

Every set is of a sort seen in tutorials and scraper repositories: a user agent alone, the "tutorial"
set of a browser's older headers, everything copied out of a browser's network panel (whose values
then stay the same for pages and images alike), a search engine's name, or a user agent drawn anew for
each request over otherwise fixed headers.
"""

CHROME_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
CHROME_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
CHROME_LINUX = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0"
SAFARI = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.{}.1 Safari/605.1.15"
OLD_CHROME = "Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.2987.133 Safari/537.36"
SEARCH = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
LANGUAGES = ["en-US,en;q=0.9", "en-US,en;q=0.5", "de-DE,de;q=0.9,en;q=0.8", "fr-FR,fr;q=0.9,en-US;q=0.8,en;q=0.7", "zh-CN,zh;q=0.9"]


def user_agent(rng):
    template, versions = rng.choice([
        (CHROME_WINDOWS, range(108, 157)), (CHROME_WINDOWS, range(120, 157)), (CHROME_MAC, range(110, 157)),
        (CHROME_LINUX, range(100, 157)), (FIREFOX, range(102, 154)), (SAFARI, range(0, 7)), (OLD_CHROME, range(57, 58)),
    ])
    return template.format(rng.choice(versions))


def agent_only(rng):
    return [[["User-Agent", user_agent(rng)]]]


def agent_in_turn(rng):
    return [[["User-Agent", user_agent(rng)], ["Accept-Language", "en-US,en;q=0.9"]] for _ in range(8)]


def search_engine(_rng):
    return [[["User-Agent", SEARCH]]]


def from_search(rng):
    return [[
        ["User-Agent", user_agent(rng)],
        ["Accept-Language", rng.choice(LANGUAGES)],
        ["Referer", "https://www.google.com/"],
    ]]


def tutorial(rng):
    fields = [
        ["User-Agent", user_agent(rng)],
        ["Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"],
        ["Accept-Language", rng.choice(LANGUAGES)],
        ["Accept-Encoding", rng.choice(["gzip, deflate", "gzip, deflate, br"])],
    ]
    extra = [["Connection", "keep-alive"], ["Upgrade-Insecure-Requests", "1"], ["DNT", "1"], ["Cache-Control", "max-age=0"], ["Pragma", "no-cache"]]
    fields += [field for field in extra if rng.random() < 0.6]
    return [fields]


def network_panel(rng):
    """Copied from the panel; where the user agent was changed afterwards, its hints were not."""
    shown = rng.randrange(118, 157)
    claimed = shown if rng.random() < 0.5 else rng.randrange(118, 157)
    fields = [
        ["Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"],
        ["Accept-Language", rng.choice(LANGUAGES)],
        ["Cache-Control", "max-age=0"],
        ["Sec-Ch-Ua", f'"Google Chrome";v="{shown}", "Chromium";v="{shown}", "Not?A_Brand";v="24"'],
        ["Sec-Ch-Ua-Mobile", "?0"],
        ["Sec-Ch-Ua-Platform", '"Windows"'],
        ["Sec-Fetch-Dest", "document"],
        ["Sec-Fetch-Mode", "navigate"],
        ["Sec-Fetch-Site", "none"],
        ["Sec-Fetch-User", "?1"],
        ["Upgrade-Insecure-Requests", "1"],
        ["User-Agent", CHROME_WINDOWS.format(claimed)],
    ]
    if rng.random() < 0.5:
        fields = [[name.lower(), value] for name, value in fields]
    if rng.random() < 0.5:
        fields.insert(1, ["Accept-Encoding", "gzip, deflate, br"])
    return [fields]


DISGUISES = {
    "default": lambda _rng: None,
    "agent": agent_only,
    "agents": agent_in_turn,
    "search": search_engine,
    "referred": from_search,
    "tutorial": tutorial,
    "panel": network_panel,
}
