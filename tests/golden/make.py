#!/usr/bin/env python3
"""Writes anomaly.json: requests, their features worked out by hand, and the scores that Python's
ONNX Runtime gives the shipped model for those features.

The gateway's tests extract the features of the same requests and score them in Rust; both must
agree. Nothing of the extraction is repeated here, so a mistake in it cannot hide in both places.
Run it after each training: python3 tests/golden/make.py (needs numpy, onnx and onnxruntime).
"""

import hashlib
import json
import pathlib

import numpy
import onnx
import onnxruntime

HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE.parent.parent / "models" / "bot_score.onnx"

CHROMIUM = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
LYNX = "Lynx/2.9.0dev.12 libwww-FM/2.14 SSL-MM/1.4.1 GNUTLS/3.7.8"


def case(name, path, headers, features, secure=False, method="GET"):
    """One request; features that are not named are 0."""
    return {"name": name, "method": method, "path": path, "secure": secure, "headers": headers, "features": features}


CASES = [
    case(
        "person with Chromium", "/guide/page-3.html", secure=True,
        headers=[
            ["Host", "site.example"],
            ["Connection", "keep-alive"],
            ["sec-ch-ua", '"Chromium";v="150", "Not_A Brand";v="24", "Google Chrome";v="150"'],
            ["sec-ch-ua-mobile", "?0"],
            ["sec-ch-ua-platform", '"Linux"'],
            ["Upgrade-Insecure-Requests", "1"],
            ["User-Agent", CHROMIUM],
            ["Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"],
            ["Sec-Fetch-Site", "none"],
            ["Sec-Fetch-Mode", "navigate"],
            ["Sec-Fetch-User", "?1"],
            ["Sec-Fetch-Dest", "document"],
            ["Accept-Encoding", "gzip, deflate, br, zstd"],
            ["Accept-Language", "en-US,en;q=0.9"],
        ],
        features={
            "ua_browser": 1, "ua_blink": 1, "ua_engine_version": 150 / 200, "ua_length": 101 / 512,
            "ua_products": 4 / 16, "ua_comments": 2 / 8, "headers_count": 14 / 32,
            "accept": 1, "accept_html_first": 1, "accept_xhtml": 1, "accept_modern_image": 1, "accept_quality_values": 2 / 8,
            "accept_language": 1, "accept_languages": 2 / 8, "accept_language_region": 1,
            "accept_encoding": 1, "accept_encoding_gzip": 1, "accept_encoding_deflate": 1, "accept_encoding_br": 1, "accept_encoding_zstd": 1,
            "connection_keep_alive": 1, "sec_fetch_fields": 1, "sec_fetch_navigate": 1, "upgrade_insecure_requests": 1,
            "client_hints": 1, "client_hints_agree": 1, "method_get": 1, "path_depth": 2 / 8, "secure": 1,
        },
    ),
    case(
        "person with Firefox", "/",
        headers=[
            ["Host", "site.example"],
            ["User-Agent", FIREFOX],
            ["Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            ["Accept-Language", "de,en-US;q=0.7,en;q=0.3"],
            ["Accept-Encoding", "gzip, deflate"],
            ["Connection", "keep-alive"],
            ["Referer", "http://site.example/"],
            ["Cookie", "seen=1"],
            ["Upgrade-Insecure-Requests", "1"],
            ["DNT", "1"],
        ],
        features={
            "ua_browser": 1, "ua_gecko": 1, "ua_engine_version": 140 / 200, "ua_length": 70 / 512,
            "ua_products": 3 / 16, "ua_comments": 1 / 8, "headers_count": 10 / 32,
            "accept": 1, "accept_html_first": 1, "accept_xhtml": 1, "accept_quality_values": 2 / 8,
            "accept_language": 1, "accept_languages": 3 / 8,
            "accept_encoding": 1, "accept_encoding_gzip": 1, "accept_encoding_deflate": 1,
            "connection_keep_alive": 1, "cookie": 1, "privacy_wish": 1, "referer": 1, "upgrade_insecure_requests": 1,
            "method_get": 1,
        },
    ),
    case(
        "person with Lynx", "/handbook/start.html", secure=True,
        headers=[
            ["Host", "site.example"],
            ["Accept", "text/html, text/plain, text/sgml, text/css, application/xhtml+xml, */*;q=0.01"],
            ["Accept-Encoding", "gzip, compress, bzip2"],
            ["Accept-Language", "en"],
            ["User-Agent", LYNX],
        ],
        features={
            "ua_text_browser": 1, "ua_length": 57 / 512, "ua_products": 4 / 16, "headers_count": 5 / 32,
            "accept": 1, "accept_html_first": 1, "accept_xhtml": 1, "accept_quality_values": 1 / 8,
            "accept_language": 1, "accept_languages": 1 / 8,
            "accept_encoding": 1, "accept_encoding_gzip": 1,
            "method_get": 1, "path_depth": 2 / 8, "secure": 1,
        },
    ),
    case(
        "feed reader", "/feed.xml",
        headers=[
            ["Host", "site.example"],
            ["User-Agent", "newsboat/2.32.0 (Linux x86_64)"],
            ["Accept", "*/*"],
            ["Accept-Encoding", "deflate, gzip, br"],
            ["If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"],
        ],
        features={
            "ua_feed_reader": 1, "ua_length": 30 / 512, "ua_products": 1 / 16, "ua_comments": 1 / 8, "headers_count": 5 / 32,
            "accept": 1, "accept_wildcard": 1,
            "accept_encoding": 1, "accept_encoding_gzip": 1, "accept_encoding_deflate": 1, "accept_encoding_br": 1,
            "conditional": 1, "method_get": 1, "path_feed": 1, "path_depth": 1 / 8,
        },
    ),
    case(
        "scraper with a library", "/faq.html?page=2",
        headers=[
            ["Host", "site.example"],
            ["User-Agent", "python-requests/2.32.3"],
            ["Accept-Encoding", "gzip, deflate"],
            ["Accept", "*/*"],
            ["Connection", "keep-alive"],
        ],
        features={
            "ua_http_library": 1, "ua_length": 22 / 512, "ua_products": 1 / 16, "headers_count": 5 / 32,
            "accept": 1, "accept_wildcard": 1,
            "accept_encoding": 1, "accept_encoding_gzip": 1, "accept_encoding_deflate": 1,
            "connection_keep_alive": 1, "method_get": 1, "path_depth": 1 / 8, "path_query": 1,
        },
    ),
    case(
        "scraper that says it is Chrome", "/reference/index.html", secure=True,
        headers=[
            ["Host", "site.example"],
            ["User-Agent", CHROME],
            ["Accept", "*/*"],
        ],
        features={
            "ua_browser": 1, "ua_blink": 1, "ua_engine_version": 124 / 200, "ua_length": 111 / 512,
            "ua_products": 4 / 16, "ua_comments": 2 / 8, "headers_count": 3 / 32,
            "accept": 1, "accept_wildcard": 1, "fetch_metadata_lacking": 1, "page_without_html": 1,
            "method_get": 1, "path_depth": 2 / 8, "secure": 1,
        },
    ),
    case(
        "client without a name", "/",
        headers=[
            ["Host", "site.example"],
            ["Accept", "*/*"],
            ["Connection", "close"],
        ],
        features={
            "ua_missing": 1, "headers_count": 3 / 32, "accept": 1, "accept_wildcard": 1,
            "connection_close": 1, "method_get": 1,
        },
    ),
]


def main():
    onnx.checker.check_model(onnx.load(MODEL), full_check=True)
    names = json.loads(MODEL.with_suffix(".json").read_text())["features"]
    unknown = {name for case in CASES for name in case["features"]} - set(names)
    assert not unknown, f"features that the model does not know: {unknown}"
    rows = numpy.array([[case["features"].get(name, 0) for name in names] for case in CASES], numpy.float32)
    session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"features": rows})
    for case, (score,) in zip(CASES, scores):
        case["score"] = round(float(score), 7)
        print(f"{score:.4f}  {case['name']}")
    golden = {
        "onnx_sha256": hashlib.sha256(MODEL.read_bytes()).hexdigest(),
        "cases": CASES,
    }
    (HERE / "anomaly.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
