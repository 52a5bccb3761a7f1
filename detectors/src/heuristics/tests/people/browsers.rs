//! Browsers and the requests that pages make them send.

/// A browser: user agent, `Accept` of a page, whether it sends fetch metadata, its client hints.
pub(super) struct Browser {
    pub(super) agent: &'static str,
    pub(super) page: &'static str,
    pub(super) metadata: bool,
    pub(super) hints: &'static [&'static str],
}

/// A request: line, `Accept` (empty: that of a page; `-`: none), fetch metadata as site, mode and
/// destination, further fields.
pub(super) struct Kind {
    pub(super) line: &'static str,
    pub(super) accept: &'static str,
    pub(super) metadata: [&'static str; 3],
    pub(super) further: &'static [&'static str],
}

const BLINK: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7";
const GECKO: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/png,image/svg+xml,*/*;q=0.8";
const WEBKIT: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

const fn browser(
    agent: &'static str,
    page: &'static str,
    metadata: bool,
    hints: &'static [&'static str],
) -> Browser {
    Browser { agent, page, metadata, hints }
}

const fn kind(
    line: &'static str,
    accept: &'static str,
    metadata: [&'static str; 3],
    further: &'static [&'static str],
) -> Kind {
    Kind { line, accept, metadata, further }
}

pub(super) const FIREFOX: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0";

pub(super) const BROWSERS: &[Browser] = &[
    // Chrome and Chromium on Windows, macOS, Linux, ChromeOS and Android.
    browser("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36", BLINK, true,
        &["Sec-CH-UA: \"Not/A)Brand\";v=\"8\", \"Chromium\";v=\"126\", \"Google Chrome\";v=\"126\"", "Sec-CH-UA-Mobile: ?0", "Sec-CH-UA-Platform: \"Windows\""]),
    browser("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36", BLINK, true,
        &["Sec-CH-UA: \"Google Chrome\";v=\"141\", \"Not?A_Brand\";v=\"8\", \"Chromium\";v=\"141\"", "Sec-CH-UA-Mobile: ?0", "Sec-CH-UA-Platform: \"macOS\""]),
    browser("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Ubuntu Chromium/126.0.0.0 Chrome/126.0.0.0 Safari/537.36", BLINK, true,
        &["Sec-CH-UA: \"Chromium\";v=\"126\", \"Not.A/Brand\";v=\"24\"", "Sec-CH-UA-Mobile: ?0", "Sec-CH-UA-Platform: \"Linux\""]),
    browser("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36", BLINK, true,
        &["Sec-CH-UA: \"Chromium\";v=\"126\"", "Sec-CH-UA-Mobile: ?0", "Sec-CH-UA-Platform: \"Chrome OS\""]),
    browser("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36", BLINK, true,
        &["Sec-CH-UA: \"Chromium\";v=\"126\", \"Google Chrome\";v=\"126\"", "Sec-CH-UA-Mobile: ?1", "Sec-CH-UA-Platform: \"Android\""]),
    browser("Mozilla/5.0 (Linux; Android 13; SM-X200) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36", BLINK, true,
        &["Sec-CH-UA: \"Chromium\";v=\"126\"", "Sec-CH-UA-Mobile: ?0", "Sec-CH-UA-Platform: \"Android\""]),
    browser("Mozilla/5.0 (Linux; Android 11; CUBOT NOTE 20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36", BLINK, true, &["Sec-CH-UA-Mobile: ?1"]),
    browser("Mozilla/5.0 (Linux; Android 9; CUBOT) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/88.0.4324.93 Mobile Safari/537.36", BLINK, true, &[]),
    // Pages inside applications: Android WebView, Facebook and Instagram on iOS, Electron.
    browser("Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UQ1A.240205.004; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.6478.72 Mobile Safari/537.36", BLINK, true,
        &["Sec-CH-UA: \"Android WebView\";v=\"126\", \"Chromium\";v=\"126\"", "Sec-CH-UA-Mobile: ?1", "Sec-CH-UA-Platform: \"Android\""]),
    browser("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/466.0.0.55.85;FBBV/603094331;FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS;FBSV/17.5.1;FBSS/3;FBID/phone;FBLC/en_US;FBOP/5]", WEBKIT, true, &[]),
    browser("Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21E219 Instagram 330.0.3.29.91 (iPhone15,2; iOS 17_4; de_DE; de; scale=3.00; 1179x2556; 600217034)", WEBKIT, true, &[]),
    browser("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Slack/4.38.125 Chrome/124.0.6367.207 Electron/30.0.6 Safari/537.36", BLINK, true, &["Sec-CH-UA: \"Chromium\";v=\"124\""]),
    // Others made of Chromium.
    browser("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0", BLINK, true,
        &["Sec-CH-UA: \"Not/A)Brand\";v=\"8\", \"Chromium\";v=\"126\", \"Microsoft Edge\";v=\"126\"", "Sec-CH-UA-Mobile: ?0", "Sec-CH-UA-Platform: \"Windows\""]),
    browser("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 OPR/110.0.0.0", BLINK, true,
        &["Sec-CH-UA: \"Chromium\";v=\"124\", \"Opera\";v=\"110\", \"Not-A.Brand\";v=\"99\"", "Sec-CH-UA-Mobile: ?0", "Sec-CH-UA-Platform: \"Windows\""]),
    browser("Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36", BLINK, true,
        &["Sec-CH-UA: \"Samsung Internet\";v=\"25.0\", \"Not A(Brand\";v=\"99\", \"Chromium\";v=\"121\"", "Sec-CH-UA-Mobile: ?1", "Sec-CH-UA-Platform: \"Android\""]),
    browser("Mozilla/5.0 (Linux; U; Android 12; en-US; RMX3231 Build/SP1A.210812.016) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/100.0.4896.58 UCBrowser/13.7.8.1323 Mobile Safari/537.36", BLINK, false, &[]),
    browser("Mozilla/5.0 (Linux; Android 9; KFMAWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/122.3.1 like Chrome/122.0.6261.119 Safari/537.36", BLINK, true, &[]),
    browser("Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) 76.0.3809.146/6.0 TV Safari/537.36", WEBKIT, false, &[]),
    browser("Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/94.0.4606.128 Safari/537.36 WebAppManager", BLINK, true, &[]),
    browser("Mozilla/5.0 (PlayStation; PlayStation 5/8.20) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.4 Safari/605.1.15", WEBKIT, false, &[]),
    // Firefox, its long-term and mobile editions, Tor Browser, relatives.
    browser(FIREFOX, GECKO, true, &[]),
    browser("Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0", GECKO, true, &[]),
    browser("Mozilla/5.0 (Windows NT 10.0; rv:128.0) Gecko/20100101 Firefox/128.0", GECKO, true, &[]),
    browser("Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0", GECKO, true, &[]),
    browser("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.0", GECKO, true, &[]),
    browser("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:102.0) Gecko/20100101 Goanna/6.7 Firefox/102.0 PaleMoon/33.2.0", GECKO, false, &[]),
    browser("Mozilla/5.0 (Windows NT 6.1; rv:91.0) Gecko/20100101 Firefox/91.0 SeaMonkey/2.53.18", GECKO, true, &[]),
    // Safari and the other browsers of Apple's systems.
    browser("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15", WEBKIT, true, &[]),
    browser("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.3 Safari/605.1.15", WEBKIT, false, &[]),
    browser("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1", WEBKIT, true, &[]),
    browser("Mozilla/5.0 (iPhone; CPU iPhone OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1.2 Mobile/15E148 Safari/604.1", WEBKIT, false, &[]),
    browser("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1", WEBKIT, true, &[]),
    browser("Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/127.0 Mobile/15E148 Safari/605.1.15", WEBKIT, true, &[]),
    browser("Mozilla/5.0 (iPhone; CPU iPhone OS 15_8 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148", WEBKIT, false, &[]),
    browser("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15 Epiphany/605.1.15", WEBKIT, false, &[]),
    // Old machines.
    browser("Mozilla/5.0 (Windows NT 5.1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/49.0.2623.112 Safari/537.36", BLINK, false, &[]),
    browser("Mozilla/5.0 (Windows NT 6.1; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/109.0.0.0 Safari/537.36", BLINK, true, &["Sec-CH-UA: \"Chromium\";v=\"109\""]),
    browser("Mozilla/5.0 (Windows NT 5.1; rv:52.0) Gecko/20100101 Firefox/52.0", GECKO, false, &[]),
    browser("Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko", "text/html, application/xhtml+xml, */*", false, &[]),
    browser("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 5.1; Trident/4.0; .NET CLR 2.0.50727)", "image/gif, image/jpeg, image/pjpeg, application/x-ms-application, application/xaml+xml, application/x-ms-xbap, */*", false, &[]),
    browser("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/64.0.3282.140 Safari/537.36 Edge/18.17763", "text/html, application/xhtml+xml, application/xml; q=0.9, */*; q=0.8", false, &[]),
    browser("Mozilla/5.0 (Linux; U; Android 4.3; es-es; GT-I9300 Build/JSS15J) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30", WEBKIT, false, &[]),
    browser("Opera/9.80 (X11; Linux x86_64) Presto/2.12.388 Version/12.16", "text/html, application/xml;q=0.9, application/xhtml+xml, image/png, image/webp, image/jpeg, image/gif, image/x-xbitmap, */*;q=0.1", false, &[]),
    browser("Opera/9.80 (Android; Opera Mini/36.2.2254/191.256; U; en) Presto/2.12.423 Version/12.16", WEBKIT, false, &[]),
    browser("Mozilla/5.0 (X11; Linux x86_64) KHTML/5.116.0 (like Gecko) Konqueror/5 KIO/5.116", WEBKIT, false, &[]),
];

pub(super) const KINDS: &[Kind] = &[
    // Navigations: typed, followed, from elsewhere, reloaded, prerendered, framed, a form's.
    kind("GET /", "", ["none", "navigate", "document"], &["Sec-Fetch-User: ?1", "Upgrade-Insecure-Requests: 1"]),
    kind("GET /a/pasted/link", "", ["none", "navigate", "document"], &["Sec-Fetch-User: ?1", "Upgrade-Insecure-Requests: 1"]),
    kind("GET /a/b?c=d", "", ["same-origin", "navigate", "document"], &["Referer: https://site.example/", "Upgrade-Insecure-Requests: 1"]),
    kind("GET /a/b", "", ["cross-site", "navigate", "document"], &["Referer: https://search.example/", "Cookie: a=b"]),
    kind("GET /wp-admin/post.php?post=1&action=edit", "", ["same-origin", "navigate", "document"], &["Referer: https://site.example/wp-admin/"]),
    kind("GET /wp-login.php", "", ["none", "navigate", "document"], &["Sec-Fetch-User: ?1"]),
    kind("GET /a/b", "", ["same-origin", "navigate", "document"], &["Cache-Control: max-age=0", "If-None-Match: \"x\""]),
    kind("GET /", "", ["none", "navigate", "document"], &["Purpose: prefetch", "Sec-Purpose: prefetch;prerender"]),
    kind("GET /a/frame", "", ["same-origin", "navigate", "iframe"], &["Referer: https://site.example/"]),
    kind("POST /form", "", ["same-origin", "navigate", "document"], &["Origin: https://site.example", "Content-Type: application/x-www-form-urlencoded"]),
    // Parts of pages.
    kind("GET /favicon.ico", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", ["same-origin", "no-cors", "image"], &[]),
    kind("GET /i/photo", "image/avif,image/webp,*/*", ["same-origin", "no-cors", "image"], &["Referer: https://site.example/"]),
    kind("GET /i/photo.jpg", "*/*", ["same-origin", "no-cors", "image"], &[]),
    kind("GET /a.css", "text/css,*/*;q=0.1", ["same-origin", "no-cors", "style"], &["Referer: https://site.example/"]),
    kind("GET /a.js", "*/*", ["same-origin", "no-cors", "script"], &[]),
    kind("GET /a.woff2", "*/*", ["same-origin", "cors", "font"], &["Origin: https://site.example"]),
    kind("GET /manifest.webmanifest", "*/*", ["same-origin", "cors", "manifest"], &[]),
    kind("GET /film.mp4", "*/*", ["same-origin", "no-cors", "video"], &["Range: bytes=0-"]),
    kind("GET /stream/7", "*/*", ["same-origin", "no-cors", "audio"], &["Range: bytes=0-"]),
    kind("GET /next", "*/*", ["same-origin", "no-cors", "empty"], &["Purpose: prefetch", "Sec-Purpose: prefetch"]),
    // Scripts: workers, fetch, XMLHttpRequest, beacons, event streams, WebSockets.
    kind("GET /sw.js", "*/*", ["same-origin", "same-origin", "serviceworker"], &["Service-Worker: script"]),
    kind("GET /worker", "*/*", ["same-origin", "same-origin", "worker"], &["Referer: https://site.example/"]),
    kind("GET /api/items", "*/*", ["same-origin", "cors", "empty"], &["Referer: https://site.example/"]),
    kind("GET /api/items", "application/json", ["same-origin", "cors", "empty"], &[]),
    kind("GET /api/items", "application/json, text/javascript, */*; q=0.01", ["same-origin", "cors", "empty"], &["X-Requested-With: XMLHttpRequest"]),
    kind("GET /api/items", "*/*", ["cross-site", "cors", "empty"], &["Origin: https://other.example"]),
    kind("GET /events", "text/event-stream", ["same-origin", "cors", "empty"], &["Cache-Control: no-cache"]),
    kind("POST /api/items", "*/*", ["same-origin", "cors", "empty"], &["Origin: https://site.example", "Content-Type: application/json"]),
    kind("PUT /api/items/1", "*/*", ["same-origin", "cors", "empty"], &["Origin: https://site.example"]),
    kind("DELETE /api/items/1", "*/*", ["same-origin", "cors", "empty"], &["Origin: https://site.example"]),
    kind("OPTIONS /api/items", "*/*", ["cross-site", "cors", "empty"], &["Origin: https://other.example", "Access-Control-Request-Method: PUT"]),
    kind("POST /collect", "*/*", ["same-origin", "no-cors", "empty"], &["Origin: https://site.example", "Content-Type: text/plain"]),
    kind("GET /socket", "-", ["", "", ""], &["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "Origin: https://site.example"]),
    kind("GET /socket", "*/*", ["same-origin", "websocket", "empty"], &["Upgrade: websocket", "Connection: keep-alive, Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]),
];
