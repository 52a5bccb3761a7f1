//! Who walks sites by itself: search engines, archives, AI, marketing, and what looks for holes.

/// Crawlers that gather text and images to train models.
pub(super) const AI_TRAINING: &[&str] = &[
    "ai2bot", "ai2bot-deepresearcheval", "ai2bot-dolma", "aihitbot", "aiwebindex", "amazon-kendra",
    "amazonbot", "anthropic-ai", "apifybot", "apifywebsitecontentcrawler", "applebot-extended",
    "awario", "awariobot", "awariorendererbot", "awariorssbot", "awariosmartbot", "bedrockbot",
    "bigsur.ai", "brightbot", "bytedance-spider", "bytespider", "ccbot", "chatglm-spider",
    "claude-web", "claudebot", "cloudvertexbot", "cohere-ai", "cohere-training-data-crawler",
    "cotoyogi", "cragcrawler", "crawl4ai", "crawlspace", "datenbank crawler", "deepseekbot",
    "diffbot", "@diffbot.com", "echobot bot", "echoboxbot", "extecontextcrawl", "facebookbot",
    "factset_spyderbot", "firecrawlagent", "flyriverbot", "friendly_crawler", "friendlycrawler",
    "@github.com/rom1504/img2dataset", "google-cloudvertexbot", "google-extended",
    "google-firebase", "googleother", "googleother-image", "googleother-video", "gptbot",
    "icc-crawler", "imagemind", "imagesiftbot", "imagespider", "img2dataset", "isscyberriskcrawler",
    "kangaroo bot", "klaviyoaibot", "kunatocrawler", "laion-huggingface-processor",
    "laiondownloader", "meta-externalagent", "mycentralaiscraperbot", "netestate imprint crawler",
    "newsai", "novellum", "omgili", "omgilibot", "pangubot", "panscient", "panscient.com",
    "poseidon research crawler", "quillbot", "quillbot.com", "reflectionbot", "sbintuitionsbot",
    "scrunchbot", "semantic-visions", "semrushbot-ocob", "semrushbot-swa", "sidetrade indexer bot",
    "spawning-ai", "@spider-feedback@bytedance.com", "taragroup intelligent bot",
    "the knowledge ai", "tiktokspider", "timpibot", "tongyibot", "tsm-turingos",
    "velenpublicwebcrawler", "webzio", "webzio-extended", "yandexadditional", "yandexadditionalbot",
    "yiyanbot",
];

/// Crawlers of search engines whose answers a model writes.
pub(super) const AI_SEARCH: &[&str] = &[
    "addsearchbot", "agenttimes", "aisearchbot", "amzn-searchbot", "andibot", "anomura",
    "aranet-searchbot", "atlassian-bot", "azureai-searchbot", "bravebot-ai", "channel3bot",
    "claude-searchbot", "cloudflare-autorag", "exasearchbot", "geisthaus-pagefetcher", "henkbot",
    "iaskbot", "iaskspider", "linerbot", "linkupbot", "meta-webindexer", "mistralai-index",
    "nagetbot", "oai-searchbot", "perplexitybot", "petalbot", "phindbot", "poggio-citations",
    "querit-searchbot", "queritbot", "shapbot", "terra cotta", "terracotta", "thinkbot", "wardbot",
    "wrtnbot", "xai-searchbot", "youbot", "zanistabot",
];

/// What fetches a page because the user of an assistant has asked something. A site that refuses
/// its maker's crawler refuses these too.
pub(super) const AI_ASSISTANTS: &[&str] = &[
    "amazon-bedrock-agentcore-browser", "amazon-qbusiness", "amazonbuyforme", "amzn-user",
    "anchor browser", "buddybot", "chatgpt agent", "chatgpt-user", "claude-code", "claude-user",
    "devin/", "duckassistbot", "gemini-deep-research", "google-agent", "google-gemini-cli",
    "google-notebooklm", "googleagent", "googleagent-mariner", "googleagent-urlcontext",
    "grok-deepsearch", "kagi-fetcher", "kimi-user", "manus-user", "mistralai-user",
    "mozilla-tabstack", "notebooklm", "novaact", "^opencode", "opencode-smartfetch", "opencode/",
    "perplexity-user", "perplexityuser", "qualifiedbot", "shap-user", "tavilybot", "trae/",
    "twinagent", "useai", "wpbot",
];

/// Bots of their owners' own interest: rank trackers, brand monitors, advertisers.
pub(super) const MARKETING: &[&str] = &[
    "^008/", "adbeat", "admantx", "ahrefsbot", "ahrefssiteaudit", "barkrowler", "^blackboard",
    "blexbot", "brandverity", "brandwatch", "bubing", "clickagy", "cognitiveseo",
    "compatible; 008/", "compatible; outbrain", "contentkingapp", "criteobot", "dataforseo",
    "dataforseobot", "datanyze", "dataprovider", "deadlinkchecker", "deepcrawl", "digincore",
    "dotbot", "ezooms", "^genieo", "gingercrawler", "gowikibot", "grapeshot", "grapeshotcrawler",
    "hubspot crawler", "hypestat", "ioncrawl", "linkdex", "linkdexbot", "linkfluence", "livelapbot",
    "ltx71", "magpie-crawler", "mauibot", "megaindex", "meltwaternews", "mixnode", "mixnodecache",
    "mj12bot", "^moreover", "moreoverbot", "netcraftsurveyagent", "netpeakcheckerbot",
    "netseer crawler", "nutch", "^outbrain", "pandalytics", "peer39_crawler", "piplbot", "proximic",
    "purebot", "rogerbot", "screaming frog seo spider", "semrushbot", "senutobot", "seobilitybot",
    "seokicks", "seolyt", "seolytbot", "seoscanners", "seranking", "serpstatbot", "sistrix",
    "siteauditbot", "sitebulb", "siteexplorer", "smtbot", "spinn3r", "splitsignalbot",
    "surdotlybot", "sysomos", "taboolabot", "tineye", "trendictionbot", "^turnitin", "turnitinbot",
    "^um-ln", "xenu link sleuth", "xovibot", "^yak/", "zoombot", "zoominfo-dataenrichment",
    "zoominfobot",
];

/// Tools that look for holes.
pub(super) const SCANNERS: &[&str] = &[
    "abuse.xmco.fr", "acunetix", "^air.ai/scanning", "arachni", "asnriskscorer", "bitdiscovery",
    "bitsightbot", "blackduck-fd", "^burp", "burp suite", "burpcollaborator", "censysinspect",
    "cgichk", "commix", "^cypex.ai/scanning", "detectify", "^dirb/", "dirbuster", "dirsearch",
    "dnsscanner", "^expanse", "feroxbuster", "ffuf", "fimap", "fuzz faster u fool", "gobuster",
    "grendel-scan", "havij", "^http banner detection", "^hydra", "internetmeasurement",
    "ip-web-crawler.com", "jaeles", "joomscan", "jorgee", "keydrop.io", "kiterunner", "l9explore",
    "l9scan", "l9tcpid", "masscan", "metasploit", "modatscanner", "muieblackcat", "nessus",
    "netsparker", "netsystemsresearch", "nikto", "nmap", "nmap scripting engine", "nuclei",
    "openvas", "^paros", "paros/", "probely", "probelyspdr", "qualys", "reverseengineeringbot",
    "^riddler", "rustscan", "skipfish", "software-security-research", "sqlmap", "sqlninja",
    "^tls tester", "tsunami-security", "tsunamisecurityscanner", "twinwavescanner", "ut-dorkbot",
    "^vega/", "^visionheight.com/scan", "w3af", "wanscannerbot", "wapiti", "watchtowr",
    "webinspect", "webshag", "wfuzz", "whatweb", "wpscan", "wpsec", "wtotem", "xsser", "zgrab",
    "zmeu",
];

/// Search engines, which bring a site its readers and obey its robots.txt.
pub(super) const SEARCH_ENGINES: &[&str] = &[
    "360spider", "a6-indexer", "aboundex", "alexandriaorgbot", "algolia crawler",
    "amazonproductdiscovery", "amazonsellerinitiatedlisting", "apis-google", "appengine-google",
    "applebot", "applenewsbot", "aspiegelbot", "baiduspider", "bingbot", "blekkobot",
    "bot.araturka.com", "br-crawler", "bravebot", "bravesearch", "cliqzbot", "coccocbot",
    "compatible; coccoc", "compatible; daum", "compatible; yeti", "coveobot", "cyberfindcrawler",
    "daumoa", "deusu", "discobot", "duckduckbot", "duckduckgo-favicons-bot", "duckduckpreview",
    "ecosiabot", "exabot", "fast enterprise crawler", "fast-webcrawler", "findxbot", "fr-crawler",
    "freespoke", "geedobot", "geedoproductsearch", "geedoshopproductfinder", "gigablast", "gigabot",
    "google-inspectiontool", "google-safety", "google-site-verification",
    "google-structured-data-testing-tool", "googlebot", "googleproducer", "gsa-crawler",
    "haosouspider", "iboubot", "ichiro", "indeedbot", "indeedjobbot", "istellabot",
    "jobswithgptcom-bot", "jooblebot", "kagi bot", "kagibot", "kendrabot", "level9searchbot",
    "linguee bot", "magibot", "mail.ru_bot", "marginalia.nu", "mojeekbot", "msnbot", "mwmbl",
    "napbot", "naverbot", "neevabot", "new-sogou-spider", "nhnbot", "ntentbot", "officestorebot",
    "oicrawler", "openindexspider", "opentheboxbot", "openwebsearchbot", "orangebot", "owler",
    "presearchbot", "psbot", "qwantbot", "qwantify", "@search.marginalia.nu", "seekbot", "seekport",
    "seekportbot", "seznambot", "seznamhomepagecrawler", "sitesearch360", "slurp",
    "sogou inst spider", "sogou news spider", "sogou orion spider", "sogou pic spider",
    "sogou spider", "sogou video spider", "sogou web spider", "sogou-test-spider", "sosospider",
    "storebot-google", "stractbot", "swiftbot", "swisscows", "teoma", "top100.rambler.ru",
    "toutiaospider", "trovitbot", "voilabot", "vsusearchspider", "wadoobot", "wotbox", "y!j",
    "yacybot", "yahoo-mmcrawler", "yandexaccessibilitybot", "yandexblogs", "yandexbot",
    "yandexcalendar", "yandexcatalog", "yandexcombot", "yandexdirect", "yandexdirectdyn",
    "yandexfavicons", "yandexforbrowser", "yandeximageresizer", "yandeximages", "yandexmarket",
    "yandexmedia", "yandexmetrika", "yandexmobilebot", "yandexmobilescreenshotbot", "yandexnews",
    "yandexnewslinks", "yandexontodb", "yandexontodbapi", "yandexpagechecker", "yandexpartner",
    "yandexrca", "yandexrenderresourcesbot", "yandexscreenshotbot", "yandexsearchshop",
    "yandexsitelinks", "yandexspravbot", "yandextracker", "yandexturbo", "yandexuserproxy",
    "yandexverticals", "yandexvertis", "yandexvideo", "yandexvideoparser", "yandexwebmaster",
    "yanga", "^yeti", "yeti/", "yioopbot", "yisouspider", "yodaobot", "yoozbot", "youdaobot",
    "zealbot", "zumbot", "zyborg",
];

/// Archives, which keep the web for later readers.
pub(super) const ARCHIVES: &[&str] = &[
    "archive-it", "archive.org_bot", "archivebot", "archivebox", "archiveteam",
    "arquivo-web-crawler", "arquivobot", "bibliotheque nacional de france crawler",
    "bl.uk_lddc_bot", "bl.uk_ldfc_bot", "bne.es_bot", "bnf.fr_bot", "bnfbot", "browsertrix",
    "europarchive.org", "grab-site", "heritrix", "ia_archiver", "internetarchivebot", "kb.dk_bot",
    "lac_iaharvester", "linkarchiver", "@loc.gov/programs/web-archiving", "miniature.io",
    "mirrorweb", "@mirrorweb.com", "mirrorwebcrawler", "netarkivet", "nla.gov.au",
    "nlnz_iaharvester", "nlnz_iaharvester2024", "nlux_iaharvester", "perma.cc", "smarshbot",
    "special_archiver", "wayback", "wayback machine", "waybackarchive", "waybackmachine", "wpull",
    "xy-archive-compliance",
];
