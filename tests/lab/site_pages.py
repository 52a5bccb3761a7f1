"""The pages of the lab's site: which documentation it serves, and what is generated beside it."""

import html
import json
import os
import pathlib
import random
import shutil
import struct
import wave
import zlib

# Where Debian puts each manual, and how many of its pages are in the page set.
MANUALS = {
    "python": ("/usr/share/doc/python3*/html", "**/*.html", 26),
    "handbook": ("/usr/share/doc/debian-handbook/html/en-US", "*.html", 18),
    "reference": ("/usr/share/developers-reference", "*.html", 6),
    "faq": ("/usr/share/doc/debian/FAQ", "*.en.html", 10),
}
LARGEST_PAGE = 200_000
# The same age on every machine, so that conditional requests are the same too.
MADE = 1_700_000_000
DISALLOWED = ["/private/", "/python/search.html", "/search"]


def generate(root):
    """Writes the generated pages under `root`; answers which path prefix serves which folder."""
    if root.exists():
        shutil.rmtree(root)
    (root / "assets").mkdir(parents=True)
    mounts = {name: str(folder(pattern)) for name, (pattern, _, _) in MANUALS.items()}
    pages = page_set()
    (root / "pages.json").write_text(json.dumps(pages))
    (root / "index.html").write_text(front_page(pages))
    (root / "busy.html").write_text(busy_page(root / "assets"))
    for name, page in SMALL_PAGES.items():
        (root / name).write_text(document(page[0], page[1]))
    (root / "status.json").write_text(json.dumps({"pages": len(pages), "state": "open"}))
    (root / "robots.txt").write_text("User-agent: *\n" + "".join(f"Disallow: {path}\n" for path in DISALLOWED))
    (root / "private").mkdir()
    (root / "private" / "index.html").write_text(document("Private", "<p>No robots here.</p>"))
    for name in mounts:
        (root / f"{name}.xml").write_text(feed(name, [p for p in pages if p["path"].startswith(f"/{name}/")]))
    (root / "feed.xml").write_text(feed("all", pages[::3]))
    (root / "favicon.ico").write_bytes(picture(random.Random(7), 16))
    for path in root.rglob("*"):
        os.utime(path, (MADE, MADE))
    return mounts


def folder(pattern):
    found = sorted(path for path in pathlib.Path("/").glob(pattern.lstrip("/")) if path.is_dir())
    if not found:
        raise SystemExit(f"no documentation at {pattern}; run tests/lab/setup site")
    return found[0]


def page_set():
    """The pages that every client is given: the same on every machine with the same packages."""
    pages = [{"path": "/busy.html", "title": "A page with a hundred assets"}]
    for name, (pattern, names, count) in MANUALS.items():
        base = folder(pattern)
        files = [
            path for path in sorted(base.glob(names))
            if path.stat().st_size < LARGEST_PAGE and not path.name.startswith(("genindex", "search"))
        ]
        for path in random.Random(name).sample(files, min(count, len(files))):
            relative = path.relative_to(base).as_posix()
            pages.append({"path": f"/{name}/{relative}", "title": f"{name}: {path.stem.replace('-', ' ')}"})
    return pages


def document(title, body, head=""):
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="stylesheet" href="/reference/_static/pygments.css">\n{head}</head>\n<body>\n<h1>{html.escape(title)}</h1>\n'
        f'{body}\n<p><a href="/">Front page</a></p></body></html>\n'
    )


SMALL_PAGES = {
    "results.html": ("Results", '<p>Pages found: <a href="/faq/index.en.html">questions</a>, <a href="/python/about.html">about</a>.</p>'),
    "thanks.html": ("Thank you", "<p>Your message has arrived.</p>"),
    "frame.html": ("A frame", "<p>Framed.</p>"),
}


def front_page(pages):
    links = "\n".join(f'<li><a href="{page["path"]}">{html.escape(page["title"])}</a></li>' for page in pages)
    return document(
        "Documentation",
        '<form action="/search" id="search"><input name="q" id="q"> <button>Search</button></form>\n'
        '<form action="/contact" method="post" id="contact"><textarea name="text" id="text"></textarea> <button>Send</button></form>\n'
        f"<ul>\n{links}\n</ul>",
        '<link rel="alternate" type="application/rss+xml" href="/feed.xml">\n<link rel="icon" href="/favicon.ico">\n',
    )


def feed(name, pages):
    items = "\n".join(
        f"<item><title>{html.escape(page['title'])}</title><link>http://site.example{page['path']}</link>"
        f"<guid isPermaLink=\"false\">{page['path']}</guid></item>"
        for page in pages
    )
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<rss version="2.0"><channel><title>{name}</title>'
        f"<link>http://site.example/</link><description>Pages of {name}</description>\n{items}\n</channel></rss>\n"
    )


def busy_page(assets):
    """One page with a hundred assets of every usual sort, and what its scripts then ask for."""
    rng = random.Random(1)
    head, body = [], []
    for n in range(40):
        (assets / f"p{n}.png").write_bytes(picture(rng, 24))
        body.append(f'<img src="/assets/p{n}.png" alt="" width="24" height="24">')
    for n in range(10):
        (assets / f"v{n}.svg").write_text(drawing(rng))
        body.append(f'<img src="/assets/v{n}.svg" alt="" width="24" height="24">')
    for n in range(22):
        (assets / f"c{n}.css").write_text(f".c{n} {{ color: #{rng.randrange(1 << 24):06x}; }}\n")
        head.append(f'<link rel="stylesheet" href="/assets/c{n}.css">')
    for n in range(18):
        (assets / f"s{n}.js").write_text(f"window.s{n} = {n};\n")
        head.append(f'<script src="/assets/s{n}.js"{" defer" if n % 2 else ""}></script>')
    for n in range(4):
        (assets / f"m{n}.mjs.js").write_text(f"export const m = {n};\n")
        head.append(f'<script type="module" src="/assets/m{n}.mjs.js"></script>')
    head += other_assets(assets)
    body.append('<iframe src="/frame.html" width="200" height="80"></iframe>')
    body.append('<picture><source srcset="/assets/p0.png?wide 2x, /assets/p1.png?wide 1x"><img src="/assets/p0.png" alt=""></picture>')
    body.append('<audio src="/assets/tone.wav" preload="auto" controls></audio>')
    body.append('<p class="lettered">Lettered.</p>')
    body.append(
        "<script>fetch('/status.json').then(r => r.json()).then(s => { document.title = s.state; });\n"
        "const x = new XMLHttpRequest(); x.open('GET', '/status.json?x'); x.setRequestHeader('X-Requested-With', 'XMLHttpRequest'); x.send();\n"
        "fetch('/contact', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' });\n"
        "navigator.sendBeacon && navigator.sendBeacon('/seen', 'read');</script>"
    )
    return document("A page with a hundred assets", "\n".join(body), "\n".join(head) + "\n")


def other_assets(assets):
    faces = []
    for n, name in enumerate(["DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf"]):
        shutil.copy(f"/usr/share/fonts/truetype/dejavu/{name}", assets / f"f{n}.ttf")
        faces.append(f"@font-face {{ font-family: lettered{n}; src: url(/assets/f{n}.ttf); }}")
    (assets / "faces.css").write_text(
        "\n".join(faces) + "\n.lettered { font-family: lettered0, lettered1; background: url(/assets/p2.png?back); }\n"
        ".lettered::first-letter { font-family: lettered2; }\n"
    )
    (assets / "site.webmanifest").write_text(json.dumps({"name": "Documentation", "icons": []}))
    with wave.open(str(assets / "tone.wav"), "wb") as tone:
        tone.setparams((1, 1, 8000, 0, "NONE", ""))
        tone.writeframes(bytes(128 + n % 16 for n in range(16000)))
    return [
        '<link rel="stylesheet" href="/assets/faces.css">',
        '<link rel="manifest" href="/assets/site.webmanifest">',
        '<link rel="preload" as="image" href="/assets/p3.png">',
        '<link rel="prefetch" href="/faq/index.en.html">',
    ]


def picture(rng, side):
    """A PNG image of coloured noise."""
    rows = b"".join(b"\0" + rng.randbytes(side * 3) for _ in range(side))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def drawing(rng):
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">'
        f'<circle cx="12" cy="12" r="{rng.randrange(4, 12)}" fill="#{rng.randrange(1 << 24):06x}"/></svg>\n'
    )
