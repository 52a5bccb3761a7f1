"""A scraper built on one of Python's HTTP libraries: `scrape.py LIBRARY < job.json`.

The job says which paths, which headers (none: the library's own), what of each page is fetched too
("none", "images", "all") and how fast. Runs as a process of its own, as scrapers do.
"""

import asyncio
import json
import random
import re
import sys
import time
import warnings
from urllib.parse import urljoin

ASSET = re.compile(r"""<(?:img|script|link)\b[^>]*?\b(?:src|href)=["']([^"'#]+)""", re.I)
IMAGE = re.compile(r"""<img\b[^>]*?\bsrc=["']([^"'#]+)""", re.I)
MOST_ASSETS = 12


def main():
    warnings.simplefilter("ignore")
    job = json.load(sys.stdin)
    LIBRARIES[sys.argv[1]](job)


def assets(job, url, text):
    """The addresses on a page that this job fetches too."""
    pattern = {"none": None, "images": IMAGE, "all": ASSET}[job["assets"]]
    found = [urljoin(url, link) for link in pattern.findall(text)] if pattern else []
    own = [link for link in dict.fromkeys(found) if link.startswith(job["base"])]
    return own[:MOST_ASSETS]


def headers(job):
    """Header fields of the next request: one set for all, or one of several in turn."""
    return dict(random.choice(job["headers"])) if job["headers"] else None


def crawl(job, get):
    """Page after page through `get(url) -> text`, with what each page shows."""
    for path in job["paths"]:
        url = job["base"] + path
        for link in assets(job, url, get(url)):
            get(link)
        time.sleep(job["pace"])


def use_requests(job):
    import requests
    import urllib3

    urllib3.disable_warnings()
    session = requests.Session() if job["session"] else requests
    crawl(job, lambda url: session.get(url, headers=headers(job), verify=False, timeout=20).text)


def use_urllib(job):
    import ssl
    import urllib.request

    lax = ssl._create_unverified_context()

    def get(url):
        request = urllib.request.Request(url, headers=headers(job) or {})
        with urllib.request.urlopen(request, timeout=20, context=lax) as answer:
            return answer.read().decode("utf-8", "replace")

    crawl(job, get)


def use_httpx(job):
    import httpx

    with httpx.Client(verify=False, timeout=20, follow_redirects=True) as client:
        crawl(job, lambda url: client.get(url, headers=headers(job)).text)


def use_curl_cffi(job):
    from curl_cffi import requests

    session = requests.Session(impersonate=job["impersonate"], verify=False, timeout=20, http_version="v1")
    crawl(job, lambda url: session.get(url).text)


def use_aiohttp(job):
    import aiohttp

    async def page(session, gate, path):
        url = job["base"] + path
        async with gate:
            text = await fetch(session, url)
            for link in assets(job, url, text):
                await fetch(session, link)
            await asyncio.sleep(job["pace"])

    async def fetch(session, url):
        async with session.get(url, headers=headers(job), ssl=False) as answer:
            return (await answer.read()).decode("utf-8", "replace")

    async def crawl_all():
        gate = asyncio.Semaphore(job["parallel"])
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
            await asyncio.gather(*(page(session, gate, path) for path in job["paths"]))

    asyncio.run(crawl_all())


def use_scrapy(job):
    import scrapy
    from scrapy.crawler import CrawlerProcess

    class Pages(scrapy.Spider):
        name = "pages"

        async def start(self):
            for path in job["paths"]:
                yield scrapy.Request(job["base"] + path, headers=headers(job), callback=self.parse)

        def parse(self, response):
            for link in assets(job, response.url, response.text):
                yield scrapy.Request(link, headers=headers(job), callback=self.ignore)

        def ignore(self, _response):
            pass

    process = CrawlerProcess({
        "LOG_LEVEL": "ERROR",
        "ROBOTSTXT_OBEY": job["robots"],
        "DOWNLOAD_DELAY": job["pace"],
        "CONCURRENT_REQUESTS": job["parallel"],
        "RETRY_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
    })
    process.crawl(Pages)
    process.start()


def use_selenium(job):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    options.accept_insecure_certs = True
    for flag in job["flags"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    driver.set_page_load_timeout(20)
    try:
        for path in job["paths"]:
            driver.get(job["base"] + path)
            driver.find_elements("tag name", "a")
            time.sleep(job["pace"])
    finally:
        driver.quit()


def use_feedparser(job):
    import feedparser

    known = {}
    for path in job["paths"]:
        last = known.get(path, {})
        known[path] = feedparser.parse(job["base"] + path, etag=last.get("etag"), modified=last.get("modified"))
        time.sleep(job["pace"])


LIBRARIES = {
    "aiohttp": use_aiohttp,
    "curl_cffi": use_curl_cffi,
    "feedparser": use_feedparser,
    "httpx": use_httpx,
    "requests": use_requests,
    "scrapy": use_scrapy,
    "selenium": use_selenium,
    "urllib": use_urllib,
}

if __name__ == "__main__":
    main()
