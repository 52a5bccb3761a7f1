//! The names that clients give themselves, by what such a client is.
//!
//! Derived from crawler-user-agents (monperrus, MIT), ai.robots.txt (ai-robots-txt, MIT) and the
//! projects' own documentation; sorted into our kinds by hand, ambiguous words left out.
//!
//! An entry is matched without regard to case and as a whole word: the characters beside it are
//! not letters or digits, unless the entry itself ends in another character. `^` binds it to the
//! start of the user agent, `$` to the end.

/// Crawlers that gather text for models, AI search indexes, and assistants that fetch for a user
/// (`ChatGPT-User`, `Perplexity-User`): a site that refuses one refuses all, so they are one kind.
pub(super) const AI_CRAWLERS: &[&str] = &[
    "agenttimes", "ai2bot", "ai2bot-dolma", "aihitbot", "aisearchbot", "aiwebindex",
    "amazon-bedrock-agentcore-browser", "amazon-kendra", "amazon-qbusiness", "amazonbot",
    "amazonbuyforme", "amzn-searchbot", "amzn-user", "anchor browser", "andibot", "anomura",
    "anthropic-ai", "apifybot", "apifywebsitecontentcrawler", "applebot-extended",
    "aranet-searchbot", "atlassian-bot", "awario", "azureai-searchbot", "bedrockbot",
    "bigsur.ai", "brightbot", "bytedance", "bytespider", "ccbot", "channel3bot",
    "chatglm-spider", "chatgpt agent", "chatgpt-user", "claude-code", "claude-searchbot",
    "claude-user", "claude-web", "claudebot", "cloudflare-autorag", "cloudvertexbot",
    "cohere-ai", "cohere-training-data-crawler", "cotoyogi", "cragcrawler", "crawl4ai",
    "crawlspace", "datenbank crawler", "deepseekbot", "diffbot", "duckassistbot",
    "exasearchbot", "extecontextcrawl", "facebookbot", "factset_spyderbot", "firecrawlagent",
    "flyriverbot", "friendlycrawler", "geisthaus-pagefetcher", "gemini-deep-research",
    "google-agent", "google-cloudvertexbot", "google-extended", "google-firebase",
    "google-gemini-cli", "google-notebooklm", "googleagent-mariner", "googleagent-urlcontext",
    "googleother", "gptbot", "henkbot", "iaskbot", "iaskspider", "icc-crawler", "imagemind",
    "imagesiftbot", "imagespider", "img2dataset", "isscyberriskcrawler", "kagi-fetcher",
    "kangaroo bot", "kimi-user", "klaviyoaibot", "kunatocrawler", "laion-huggingface-processor",
    "laiondownloader", "linerbot", "linkupbot", "manus-user", "meta-externalagent",
    "meta-externalfetcher", "meta-webindexer", "mistralai-user", "mozilla-tabstack",
    "mycentralaiscraperbot", "nagetbot", "netestate imprint crawler", "newsai", "notebooklm",
    "novaact", "novellum", "oai-searchbot", "omgili", "omgilibot", "opencode",
    "opencode-smartfetch", "pangubot", "panscient", "perplexity-user", "perplexitybot",
    "perplexityuser", "petalbot", "phindbot", "poggio-citations", "poseidon research crawler",
    "querit-searchbot", "queritbot", "quillbot", "sbintuitionsbot", "semantic-visions",
    "shap-user", "shapbot", "sidetrade indexer bot", "spawning-ai", "taragroup intelligent bot",
    "tavilybot", "terra cotta", "terracotta", "the knowledge ai", "thinkbot", "tiktokspider",
    "timpibot", "tongyibot", "tsm-turingos", "twinagent", "velenpublicwebcrawler", "wardbot",
    "webzio", "webzio-extended", "wrtnbot", "yandexadditional", "yandexadditionalbot",
    "yiyanbot", "youbot", "zanistabot",
];

/// Browsers that say themselves that a program steers them.
pub(super) const AUTOMATION: &[&str] = &[
    "cypress/", "ghost inspector", "headless", "headlesschrome", "headlessedg", "htmlunit",
    "lightpanda", "nightmare/", "phantomjs", "playwright", "puppeteer", "selenium", "slimerjs",
    "splash", "testcafe", "webdriver", "zombie.js",
];

/// Bots of their operators' own interest: rank trackers, brand monitors, advertisers, and names
/// that the generic words below do not cover.
pub(super) const DECLARED_BOTS: &[&str] = &[
    "008/", "adbeat", "admantx", "ahrefsbot", "ahrefssiteaudit", "barkrowler", "blackboard",
    "blexbot", "brandverity", "brandwatch", "bubing", "clickagy", "cognitiveseo",
    "contentkingapp", "criteobot", "dataforseobot", "datanyze", "dataprovider",
    "deadlinkchecker", "deepcrawl", "digincore", "dotbot", "exabot", "ezooms", "genieo",
    "gingercrawler", "gowikibot", "grapeshot", "hubspot", "hypestat", "ioncrawl", "linkdex",
    "linkfluence", "livelapbot", "ltx71", "magpie-crawler", "mauibot", "megaindex",
    "meltwaternews", "mixnode", "mixnodecache", "mj12bot", "moreover", "netcraftsurveyagent",
    "netpeakcheckerbot", "netseer crawler", "nutch", "outbrain", "owler", "pandalytics",
    "peer39_crawler", "piplbot", "proximic", "purebot", "rogerbot", "screaming frog seo spider",
    "semrushbot", "seobilitybot", "seokicks", "seoscanners", "serpstatbot", "sistrix",
    "sitebulb", "siteexplorer", "siteimprove.com", "smtbot", "sogou pic spider", "spinn3r",
    "splitsignalbot", "surdotlybot", "swiftbot", "sysomos", "taboolabot", "tineye",
    "trendictionbot", "turnitin", "um-ln", "xenu link sleuth", "xovibot", "yak/", "yisouspider",
    "zoombot", "zoominfobot",
];

/// Programs that fetch feeds for a reader, hosted or on the reader's machine, and the media players
/// that play what the feeds bring.
pub(super) const FEED_READERS: &[&str] = &[
    "akregator", "antennapod", "apple-podcasts", "applecoremedia", "applepodcasts",
    "artemis web reader", "bazqux", "blogtrottr", "castbox", "commafeed", "dlvr.it", "elfeed",
    "exoplayer", "exoplayerlib", "feed-fetcher", "feedbin", "feedblitz", "feedbro",
    "feedburner", "feeddemon", "feedfetcher-google", "feedflow", "feedly", "feedlybot",
    "feedparser", "feedpress", "feedspot", "feeeed", "flipboardrss", "fluent-reader",
    "freshrss", "g2reader-bot", "gpodder", "gwene", "inoreader", "itunes/",
    "kill the newsletter", "lavf", "liferea", "livejournal.com", "magpierss", "miniflux",
    "monitorss", "mpv", "netnewswire", "netvibes", "newsbeuter", "newsblur", "newsboat",
    "newsflash", "newsify", "nextcloud-news", "nextnews", "nsplayer", "openrss", "overcast",
    "owncloud news", "planet venus", "planetplanet", "pocket casts", "pocketcasts",
    "podcastaddict", "podcastrepublic", "quiterss", "raven reader", "rawdog", "readkit",
    "reeder", "rome client", "rss guard", "rss2email", "rssguard", "rssowl", "selfoss", "sfeed",
    "simplepie", "snownews", "stagefright", "superfeedr", "the old reader", "theoldreader",
    "thunderbird", "tiny tiny rss", "tt-rss", "universalfeedparser", "unread rss", "vienna",
    "vlc", "yarr", "zapier rss",
];

/// Libraries, command-line clients and frameworks whose default name was left as it is.
pub(super) const HTTP_LIBRARIES: &[&str] = &[
    ") java/1", ") java/11", ") java/17", ") java/21", "ahc/", "aiohttp", "akka-http",
    "alittle client", "anyevent-http", "apache-httpasyncclient", "apache-httpclient", "aria2",
    "asynchttpclient", "aws-sdk", "axios", "beautifulsoup", "boto3", "btwebclient", "clj-http",
    "colly", "commons-httpclient", "cpp-httplib", "crawler4j", "curl", "customasynchttpclient",
    "cyotekwebcopy", "^dart/", "deno/", "download ninja", "excon", "faraday", "^fasthttp",
    "^fetch ", "fetch/", "fiddler", "go-http-client", "go-resty", "gocolly", "goparserbot",
    "goquery", "^got (", "^got/", "google-http-java-client", "resty-requests", "grequests", "guzzle", "guzzlehttp", "haskell http", "http-client",
    "http-tiny", "http.rb", "http_get", "http_request2", "httpclient", "httpie", "httpunit",
    "httpurlconnection", "httpx", "httrack", "hyper/", "insomnia", "isahc",
    "jakarta commons-httpclient", "java-http-client", "^java/", "jersey/", "jetty", "jodd http",
    "jsoup", "ktor-client", "larbin", "libcurl", "libfetch", "libsoup", "libwww", "libwww-perl",
    "lua-resty-http", "luasocket", "lwp", "lwp-trivial", "lwp::simple", "mechanicalsoup",
    "mechanize", "mojolicious", "newspaper/", "newspaper3k", "^node$", "node-fetch",
    "node-superagent", "node.js", "^node/", "^nodejs", "offline explorer", "okhttp",
    "openai-python", "openai/python", "pcore-http", "^perl", "^php", "php-curl-class",
    "phpcrawl", "postmanruntime", "powershell", "pycurl", "pyspider", "python", "python-httpx",
    "python-opengraph", "python-requests", "python-urllib", "python-urllib3", "pywebcopy",
    "^r (", "req/", "requests-html", "reqwest", "rest-client", "restsharp", "resttemplate",
    "rome/", "^ruby", "ruby/", "scrapy", "simple-http", "simplecrawler", "simplescraper",
    "sindresorhus/got", "sitesucker", "superagent", "symfony ", "teleport pro", "tornado/",
    "trafilatura", "typhoeus", "undici", "unirest", "ureq", "urlgrabber", "urllib", "vert.x",
    "webcapture", "webcopier", "webstripper", "webzip", "wget", "wget2", "windowspowershell",
    "winhttp", "wininet", "xh/", "zend_http_client",
];

/// Tools that look for holes.
pub(super) const SCANNERS: &[&str] = &[
    "acunetix", "arachni", "burp", "burpcollaborator", "censysinspect", "cgichk", "commix",
    "detectify", "dirb", "dirbuster", "dirsearch", "expanse", "feroxbuster", "ffuf", "fimap",
    "fuzz faster u fool", "gobuster", "grendel-scan", "havij", "internetmeasurement", "jaeles",
    "joomscan", "jorgee", "kiterunner", "l9explore", "l9scan", "l9tcpid", "masscan",
    "metasploit", "modatscanner", "muieblackcat", "nessus", "netsparker", "netsystemsresearch",
    "nikto", "nmap", "nuclei", "openvas", "paros", "probely", "probelyspdr", "qualys",
    "rustscan", "skipfish", "sqlmap", "sqlninja", "tsunami-security", "vega/", "w3af", "wapiti",
    "watchtowr", "webinspect", "webshag", "wfuzz", "whatweb", "wpscan", "xsser", "zgrab",
    "zmeu",
];

/// Browsers that render text or keep to an older web: held to nothing that they never send.
pub(super) const TEXT_BROWSERS: &[&str] = &[
    "amaya", "chawan", "dillo/", "edbrowse", "elinks", "emacs-w3m", "felinks", "^links (",
    "^links/", "lynx", "mosaic", "netsurf", "offpunk", "retawq", "url/emacs", "w3m", "xlinks",
];

/// Search engines and archives, which bring a site its readers and obey its robots.txt.
pub(super) const WELCOME_CRAWLERS: &[&str] = &[
    "360spider", "adidxbot", "apis-google", "appengine-google", "applebot", "archive-it",
    "archive.org_bot", "arquivo-web-crawler", "baiduspider", "baiduspider-render", "bingbot",
    "bl.uk_lddc_bot", "bl.uk_ldfc_bot", "blekkobot", "bne.es_bot", "bnf.fr_bot", "bravebot",
    "cliqzbot", "coccocbot", "coccocbot-web", "daum", "daumoa", "duckduckbot",
    "duckduckgo-favicons-bot", "europarchive.org", "gigabot", "google-inspectiontool",
    "google-safety", "google-site-verification", "google-structured-data-testing-tool",
    "googlebot", "googlebot-image", "googlebot-mobile", "googlebot-news", "googlebot-video",
    "heritrix", "ia_archiver", "kagibot", "kb.dk_bot", "lac_iaharvester", "mail.ru_bot",
    "marginalia.nu", "mojeekbot", "msnbot", "msnbot-media", "nlnz_iaharvester", "qwantbot",
    "qwantify", "seznambot", "slurp", "sogou web spider", "storebot-google", "swisscows",
    "teoma", "trove", "wayback", "yacybot", "yandexblogs", "yandexbot", "yandexdirect",
    "yandexfavicons", "yandeximages", "yandexmedia", "yandexmetrika", "yandexmobilebot",
    "yandexnews", "yandexrenderresourcesbot", "yandexvideo", "yandexwebmaster", "yeti",
];

/// What fetches a single address because a person shared it or the site's operator asked for it:
/// link previews, mail proxies, uptime monitors, validators, webhooks.
pub(super) const WELCOME_FETCHERS: &[&str] = &[
    "aasa-bot", "adsbot-google", "adsbot-google-mobile", "alwaysonline", "amazon cloudfront",
    "amazon-route53-health-check-service", "better uptime bot", "betteruptimebot",
    "bingpreview", "blackbox exporter", "blackbox_exporter", "bluesky", "cardyb", "catchpoint",
    "check_http", "checkly", "chrome privacy preserving prefetch proxy", "chrome-lighthouse",
    "cloudflare-alwaysonline", "cloudflare-healthchecks", "cloudflare-prefetch",
    "cloudflare-ssldetector", "cloudflare-traffic-manager", "cookiebot", "cron-job.org",
    "datadog agent", "datadog synthetic", "datadogsynthetics",
    "developers.google.com/+/web/snippet", "digicert dcv", "discordbot",
    "discourse forum onebox", "dotcom-monitor", "easycron", "elb-healthchecker", "embedly",
    "facebookcatalog", "facebookexternalhit", "facebot", "feedvalidator", "flipboardproxy",
    "freshpingbot", "friendica", "github-camo", "github-hookshot", "google favicon",
    "google page speed insights", "google web preview", "google-adwords-instant",
    "google-certificates-bridge", "google-read-aloud", "google-trust-services",
    "googleassociationservice", "googledocs", "googlehc", "googleimageproxy",
    "googlestackdrivermonitoring", "gotosocial", "groupmebot", "gtmetrix", "hetrixtools",
    "honeybadger uptime check", "hstspreload-bot", "iframely", "ifttt", "kakaotalk-scrap",
    "keybasebot", "kube-probe", "lemmy", "let's encrypt validation server", "linespider",
    "linkedinbot", "mastodon", "mattermost-bot", "mediapartners", "mediapartners-google",
    "microsoftpreview", "misskey", "monit/", "montastic-monitor", "newrelicsynthetics",
    "nodeping", "notion", "odklbot", "ohdear", "page speed", "panopta", "pingdom",
    "pingdompagespeed", "pingdomtms", "pinterest", "pinterestbot", "pleroma",
    "prtg network monitor", "ptst/", "recurly webhooks", "redditbot", "sentryuptimebot",
    "shopify-captain-hook", "site24x7", "skypeuripreview", "slack-imgproxy", "slackbot",
    "slackbot-linkexpanding", "snap url preview service", "ssl labs",
    "startpageprivateimageproxy", "statuscake", "stripe/", "sucuri", "summalybot",
    "svix-webhooks", "synapse", "telegrambot", "thousandeyes", "tumblr", "tweetmemebot",
    "twilioproxy", "twitterbot", "updown.io", "uptime-kuma", "uptimerobot", "uptrends",
    "validator.nu", "vaultpress", "viber", "vigil/", "vkrobot", "vkshare", "w3c-checklink",
    "w3c-mobileok", "w3c_css_validator", "w3c_i18n-checker", "w3c_unicorn", "w3c_validator",
    "whatsapp", "xing bot", "yahoo link preview", "yahoomailproxy", "zabbix", "zoho-webhook",
];

/// Words that a feed reader without an entry above calls itself by.
pub(super) const FEED_WORDS: &[&str] = &[
    "feed", "feedreader", "feeds", "podcast", "podcasts", "rss", "rssreader", "subscribers",
];

/// Words that a bot without an entry above calls itself by; they may end a longer word
/// (`ExampleBot`). `+http` is the contact address that well-behaved bots give.
pub(super) const BOT_WORDS: &[&str] = &[
    "+http", "+https", "archiver", "bot", "bots", "checker", "crawl", "crawler", "crawling",
    "fetcher", "harvester", "indexer", "monitoring", "robot", "scanner", "scraper", "scraping",
    "spider", "spyder", "validator",
];

/// Words that end like a bot's name and are not one: Cubot makes telephones.
pub(super) const NOT_BOTS: &[&str] = &[
    "cubot",
];

/// What a browser is put together from. The number that follows, if any, is its version.
pub(super) const BROWSER_TOKENS: &[(&str, Token)] = &[
    ("android", Token::Android),
    ("applewebkit/", Token::WebKit),
    ("chrome/", Token::Chrome),
    ("chromium/", Token::Chrome),
    ("cpu iphone os ", Token::IosVersion),
    ("cpu os ", Token::IosVersion),
    ("cros ", Token::ChromeOs),
    ("crios/", Token::ChromeIos),
    ("edg/", Token::Edge),
    ("edga/", Token::Edge),
    ("edge/", Token::EdgeLegacy),
    ("edgios/", Token::EdgeIos),
    ("firefox/", Token::Firefox),
    ("freebsd", Token::Linux),
    ("fxios/", Token::FirefoxIos),
    ("gecko/", Token::Gecko),
    ("goanna/", Token::Fork),
    ("heytapbrowser/", Token::Fork),
    ("ipad", Token::Ios),
    ("iphone", Token::Ios),
    ("ipod", Token::Ios),
    ("khtml/", Token::WebKit),
    ("konqueror/", Token::WebKit),
    ("linux", Token::Linux),
    ("maxthon/", Token::Fork),
    ("miuibrowser/", Token::Fork),
    ("macintosh", Token::MacOs),
    ("mobile", Token::Mobile),
    ("mqqbrowser/", Token::Fork),
    ("msie ", Token::InternetExplorer),
    ("netfront/", Token::OldMobile),
    ("openbsd", Token::Linux),
    ("opera mini/", Token::OldMobile),
    ("opera/", Token::Presto),
    ("opr/", Token::Opera),
    ("presto/", Token::Presto),
    ("puffin/", Token::Fork),
    ("qqbrowser/", Token::Fork),
    ("qtwebengine/", Token::Fork),
    ("quark/", Token::Fork),
    ("safari/", Token::Safari),
    ("samsungbrowser/", Token::Samsung),
    ("trident/", Token::Trident),
    ("ucbrowser/", Token::Fork),
    ("up.browser/", Token::OldMobile),
    ("version/", Token::Version),
    ("vivobrowser/", Token::Fork),
    ("webkit/", Token::WebKit),
    ("windows", Token::Windows),
    ("x11", Token::Linux),
];

/// One building block of a browser's user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Android,
    Chrome,
    ChromeIos,
    ChromeOs,
    Edge,
    EdgeIos,
    EdgeLegacy,
    Firefox,
    FirefoxIos,
    /// Made of another browser, but by its own rules.
    Fork,
    Gecko,
    InternetExplorer,
    Ios,
    IosVersion,
    Linux,
    MacOs,
    Mobile,
    OldMobile,
    Opera,
    Presto,
    Safari,
    Samsung,
    Trident,
    Version,
    WebKit,
    Windows,
}

impl Token {
    /// Number of tokens: one more than the last.
    pub(super) const COUNT: usize = Self::Windows as usize + 1;
}
