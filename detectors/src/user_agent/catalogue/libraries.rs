//! Libraries, automated browsers and browsers for text.

/// Libraries, command-line clients and frameworks whose default name was left as it is.
pub(super) const HTTP_LIBRARIES: &[&str] = &[
    ") java/1", ") java/11", ") java/17", ") java/21", "ahc/", "aiohttp", "akka-http",
    "alittle client", "anyevent-http", "apache-httpasyncclient", "apache-httpclient", "aria2",
    "asynchttpclient", "aws-sdk", "axios", "beautifulsoup", "boto3", "btwebclient", "clj-http",
    "colly", "commons-httpclient", "cpp-httplib", "crawler4j", "curl", "customasynchttpclient",
    "cyotekwebcopy", "deno/", "download ninja", "excon", "faraday", "^fasthttp", "^fetch ",
    "fetch/", "fiddler", "go-http-client", "go-resty", "gocolly", "google-http-java-client",
    "goparserbot", "goquery", "^got (", "^got/", "grequests", "guzzle", "guzzlehttp",
    "haskell http", "http-client", "http-tiny", "http.rb", "http_get", "http_request2",
    "httpclient", "httpie", "httpunit", "httpurlconnection", "httpx", "httrack", "hyper/",
    "insomnia", "isahc", "jakarta commons-httpclient", "java-http-client", "^java/", "jersey/",
    "jetty", "jodd http", "jsoup", "larbin", "libcurl", "libfetch", "libsoup", "libwww-perl",
    "^libwww/", "lua-resty-http", "luasocket", "lwp", "lwp-trivial", "lwp::simple",
    "mechanicalsoup", "mechanize", "microsoft url control", "mojolicious", "newspaper/",
    "newspaper3k", "^node$", "node-fetch", "node-superagent", "node.js", "^node/", "^nodejs",
    "offline explorer", "openai-python", "openai/python", "pcore-http", "^perl", "^php",
    "php-curl-class", "phpcrawl", "postmanruntime", "powershell", "pycurl", "pyspider", "python",
    "python-httpx", "python-opengraph", "python-requests", "python-urllib", "python-urllib3",
    "pywebcopy", "req/", "requests-html", "reqwest", "rest-client", "restsharp", "resttemplate",
    "resty-requests", "rome/", "^ruby", "ruby/", "scrapy", "simple-http", "simplecrawler",
    "simplescraper", "sindresorhus/got", "sitesucker", "superagent", "symfony ", "teleport pro",
    "tornado/", "trafilatura", "typhoeus", "undici", "unirest", "ureq", "urlgrabber", "urllib",
    "vert.x", "webcapture", "webcopier", "webstripper", "webzip", "wget", "wget2",
    "windowspowershell", "winhttp", "wininet", "xh/", "zend_http_client",
];

/// Browsers that say themselves that a program steers them.
pub(super) const AUTOMATION: &[&str] = &[
    " nightmare/", "cypress/", "headless", "headlesschrome", "headlessedg", "htmlunit",
    "lightpanda", "phantomjs", "playwright", "puppeteer", "selenium", "slimerjs", "splash version/",
    "testcafe", "webdriver", "zombie.js",
];

/// Browsers that render text or keep to an older web: held to nothing that they never send.
pub(super) const TEXT_BROWSERS: &[&str] = &[
    "amaya", "chawan", "dillo/", "edbrowse", "elinks", "felinks", "^links (", "^links/", "lynx",
    "mosaic", "netsurf", "offpunk", "retawq", "url/emacs", "w3m", "xlinks",
];
