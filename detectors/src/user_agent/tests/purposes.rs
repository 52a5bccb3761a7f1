//! Programs by what they are for, and people's browsers that only sound like programs.

use super::{Claim, Purpose, UserAgent};

/// Every agent of a company, and what each is for.
#[test]
fn agents_of_a_company_are_told_apart() {
    use Purpose::{AiAssistant, AiSearch, AiTraining, App, LinkPreview, Monitor};
    use Purpose::{Delivery, Device, FeedReader, Mail, MediaPlayer, Office, Podcast};
    use Purpose::{SearchEngine, SiteCheck, Sync};
    #[rustfmt::skip]
    let table: &[(Purpose, &[&str])] = &[
        // Meta.
        (AiTraining, &["meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)", "FacebookBot/1.0"]),
        (AiSearch, &["meta-webindexer/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)"]),
        (LinkPreview, &["facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "meta-externalfetcher/1.1", "WhatsApp/2.23.20.0", "facebookcatalog/1.0"]),
        // Apple.
        (SearchEngine, &["Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)"]),
        (AiTraining, &["Mozilla/5.0 (compatible; Applebot-Extended/0.1; +http://www.apple.com/go/applebot)"]),
        (Podcast, &["iTMS", "Podcasts/1.2.3 CFNetwork/1498 Darwin/23.5.0"]),
        (MediaPlayer, &["AppleCoreMedia/1.0.0.21F90 (iPhone; U; CPU OS 17_5_1 like Mac OS X; en_us)"]),
        (App, &["ExampleApp/4.2 CFNetwork/1498.700.2 Darwin/23.6.0"]),
        (Sync, &["iOS/17.5.1 (21F90) dataaccessd/1.0", "macOS/14.5 (23F79) CalendarAgent/990"]),
        (SiteCheck, &["AASA-Bot/1.0.0"]),
        // Google.
        (SearchEngine, &["Googlebot/2.1 (+http://www.google.com/bot.html)", "Googlebot-Image/1.0", "Googlebot-Video/1.0", "Mozilla/5.0 (Linux; Android 8.0; Pixel 2 Build/OPD3.170816.012; Storebot-Google/1.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/81.0.4044.138 Mobile Safari/537.36", "Mozilla/5.0 (compatible; Google-InspectionTool/1.0;)", "APIs-Google (+https://developers.google.com/webmasters/APIs-Google.html)", "Mozilla/5.0 (compatible; Google-Site-Verification/1.0)", "Google-Safety"]),
        (AiTraining, &["GoogleOther", "Mozilla/5.0 (compatible; Google-Extended)", "Mozilla/5.0 (compatible; Google-CloudVertexBot; +https://cloud.google.com/enterprise-search)"]),
        (AiAssistant, &["Google-NotebookLM", "GoogleAgent-Mariner"]),
        (SiteCheck, &["AdsBot-Google (+http://www.google.com/adsbot.html)", "Mediapartners-Google", "Mozilla/5.0 (Linux; Android 11; moto g power (2022)) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/109.0.0.0 Mobile Safari/537.36 Chrome-Lighthouse"]),
        (LinkPreview, &["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko; Google-Read-Aloud; +https://support.google.com/webmasters/answer/1061943) Chrome/120.0.0.0 Safari/537.36"]),
        (FeedReader, &["FeedFetcher-Google; (+http://www.google.com/feedfetcher.html)"]),
        (Mail, &["Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"]),
        (Monitor, &["GoogleHC/1.0", "GoogleStackdriverMonitoring-UptimeChecks(https://cloud.google.com/monitoring)"]),
        // Amazon.
        (AiTraining, &["Mozilla/5.0 (Macintosh; Intel Mac OS X 10_10_1) AppleWebKit/600.2.5 (KHTML, like Gecko) Version/8.0.2 Safari/600.2.5 (Amazonbot/0.1; +https://developer.amazon.com/support/amazonbot)"]),
        (Delivery, &["Amazon CloudFront"]),
        (Monitor, &["Amazon-Route53-Health-Check-Service (ref a; report http://amzn.to/1vsZADi)", "ELB-HealthChecker/2.0"]),
        (MediaPlayer, &["AlexaMediaPlayer/2.0.201528.0 (Linux;Android 5.1.1) ExoPlayerLib/1.5.9"]),
        // Microsoft.
        (SearchEngine, &["Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"]),
        (SiteCheck, &["Mozilla/5.0 (compatible; adidxbot/2.0; +http://www.bing.com/bingbot.htm)"]),
        (LinkPreview, &["Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ (KHTML, like Gecko) BingPreview/1.0b", "Mozilla/5.0 (compatible; MicrosoftPreview/2.0; +https://aka.ms/MicrosoftPreview)", "SkypeUriPreview Preview/0.5"]),
        (Office, &["Microsoft Office Word 2014", "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Word 16.0.17328; Pro)", "Mozilla/4.0 (compatible; ms-office; MSOffice 16)", "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; Microsoft Outlook 16.0.4266; ms-office; MSOffice 16)"]),
        (Sync, &["Microsoft-WebDAV-MiniRedir/10.0.19045"]),
        // OpenAI, Anthropic, Perplexity.
        (AiTraining, &["Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.2; +https://openai.com/gptbot", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)"]),
        (AiSearch, &["Mozilla/5.0 (compatible; OAI-SearchBot/1.0; +https://openai.com/searchbot)", "Claude-SearchBot/1.0", "Mozilla/5.0 (compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)"]),
        (AiAssistant, &["Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot", "Claude-User/1.0", "Perplexity-User/1.0", "DuckAssistBot/1.2; (+http://duckduckgo.com/duckassistbot.html)"]),
        // ByteDance, Huawei, Samsung.
        (AiTraining, &["Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)"]),
        (AiSearch, &["Mozilla/5.0 (compatible;PetalBot;+https://webmaster.petalsearch.com/site/petalbot)"]),
        (Device, &["Mozilla/5.0 (SmartHub; SMART-TV; U; Linux/SmartTV; Maple2012)"]),
        // Search engines of their own.
        (SearchEngine, &["Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", "Mozilla/5.0 (compatible; YandexImages/3.0; +http://yandex.com/bots)", "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)", "Mozilla/5.0 (compatible; Yeti/1.1; +http://naver.me/spd)", "Mozilla/5.0 (compatible; SeznamBot/4.0; +http://napoveda.seznam.cz/seznambot-intro/)", "Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)", "Mozilla/5.0 (compatible; Qwantbot/1.0; +https://help.qwant.com/bot/)", "Mozilla/5.0 (compatible; Kagibot/1.0; +https://kagi.com/bot)", "Mozilla/5.0 (compatible; MojeekBot/0.11; +https://www.mojeek.com/bot.html)", "DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)", "Mozilla/5.0 (compatible; Bravebot/1.0; +https://search.brave.com/help/brave-search-crawler)", "Mozilla/5.0 (compatible; coccocbot-web/1.0; +http://help.coccoc.com/searchengine)"]),
        (AiTraining, &["Mozilla/5.0 (compatible; YandexAdditionalBot/3.0; +http://yandex.com/bots)"]),
    ];
    check(table);
}

/// Programs as they name themselves by default, by what they are for.
#[test]
fn programs_have_purposes() {
    use Purpose::{
        App, Archive, Device, Federation, FeedReader, HomeAutomation, LinkPreview, Mail,
    };
    use Purpose::{Marketing, MediaPlayer, Monitor, Office, PackageManager, Podcast, SiteCheck};
    use Purpose::{Sync, VersionControl, Webhook};
    #[rustfmt::skip]
    let table: &[(Purpose, &[&str])] = &[
        (Archive, &["Mozilla/5.0 (compatible; archive.org_bot +http://archive.org/details/archive.org_bot)", "ia_archiver (+http://www.alexa.com/site/help/webmasters)", "ArchiveTeam ArchiveBot/20170106.02 (wpull 2.0.2)"]),
        (LinkPreview, &["Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "TelegramBot (like TwitterBot)", "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)", "Iframely/1.3.1 (+https://iframely.com/docs/about)"]),
        (Monitor, &["kube-probe/1.29", "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)", "Uptime-Kuma/1.23.13", "check_http/v2.3.3 (monitoring-plugins 2.3.3)", "Blackbox Exporter/0.25.0", "Prometheus/2.51.0", "Zabbix 6.0", "Consul Health Check", "Better Stack Better Uptime Bot Mozilla/5.0 (Macintosh)", "HetrixTools Uptime Monitoring Bot. https://hetrix.tools/uptime-monitoring-bot.html"]),
        (Webhook, &["Stripe/1.0 (+https://stripe.com/docs/webhooks)", "GitHub-Hookshot/a1b2c3d", "GitLab/16.11.1", "PayPal IPN ( https://www.paypal.com/ipn )", "Shopify-Captain-Hook", "TwilioProxy/1.1", "WordPress/6.5.4; https://site.example", "Zapier", "Svix-Webhooks/1.65.0 (sender-9YMgn; +https://www.svix.com/http-sender/)", "Gitea/1.21.0", "Bitbucket-Webhooks/2.0", "Mollie HTTP client/1.0", "Zendesk Webhook"]),
        (FeedReader, &["newsboat/2.34.0 (Linux x86_64)", "Mozilla/5.0 (compatible; Miniflux/2.1.3; +https://miniflux.app)", "UniversalFeedParser/6.0.11 +https://github.com/kurtmckee/feedparser/", "SomeNewReader/0.1 (RSS; +https://reader.example)"]),
        (Podcast, &["AntennaPod/3.4.1", "Overcast/3.0 (+http://overcast.fm/; iOS podcast app)", "PodcastAddict/v5 (+https://podcastaddict.com/; Android podcast app)", "gPodder/3.11.4 (+http://gpodder.org/) Linux"]),
        (MediaPlayer, &["VLC/3.0.20 LibVLC/3.0.20", "Lavf/60.16.100", "mpv 0.37.0", "Kodi/20.2 (Linux; Android 11; BRAVIA) Android/11.0.0", "stagefright/1.2 (Linux;Android 9)", "GStreamer souphttpsrc 1.22.0 libsoup/3.2.2", "Roku/DVP-12.5 (12.5.0.4178-88)"]),
        (PackageManager, &[
            "Debian APT-HTTP/1.3 (2.6.1)", "Debian APT-HTTP/1.3 (2.6.1) non-interactive", "libdnf (Debian GNU/Linux 12; generic; Linux.x86_64)", "urlgrabber/3.10 yum/3.4.3", "ZYpp 17.31.31 (curl 8.0.1) openSUSE-Leap-15.5-x86_64", "pacman/6.0.2 (Linux x86_64) libalpm/13.0.2", "apk-tools/2.14.0",
            "pip/24.0 {\"ci\":null,\"cpu\":\"x86_64\",\"distro\":{\"name\":\"Debian GNU/Linux\",\"version\":\"12\"},\"implementation\":{\"name\":\"CPython\",\"version\":\"3.11.2\"},\"installer\":{\"name\":\"pip\",\"version\":\"24.0\"},\"openssl_version\":\"OpenSSL 3.0.11 19 Sep 2023\",\"python\":\"3.11.2\"}", "uv/0.4.18 {\"installer\":{\"name\":\"uv\",\"version\":\"0.4.18\"}}", "twine/5.0.0 requests/2.31.0 CPython/3.11.2", "conda/24.1.2 requests/2.31.0 CPython/3.11.7 Linux/6.1.0-21-amd64 debian/12 glibc/2.36",
            "npm/10.2.4 node/v20.11.0 linux x64 workspaces/false", "yarn/1.22.19 npm/? node/v18.19.0 linux x64", "pnpm/8.15.4 npm/? node/v20.11.0 linux x64", "cargo/1.75.0 (1d8b05cdd 2023-11-20)", "cargo 1.74.0 (ecb9851af 2023-10-18)",
            "Apache-Maven/3.9.6 (Java 17.0.9; Linux 6.1.0-21-amd64)", "Gradle/8.5 (Linux;6.1.0-21-amd64;amd64) (Eclipse Adoptium;17.0.9;17.0.9+9)", "Composer/2.6.5 (Linux; 6.1.0-21-amd64; PHP 8.2.18; cURL 7.88.1; Platform-PHP 8.2.18)", "NuGet Command Line/6.8.0 (Microsoft Windows NT 10.0.22631.0)", "RubyGems/3.3.15 x86_64-linux Ruby/3.1.2 (2022-04-12 patchlevel 20)", "Bundler/2.3.15 RubyGems/3.3.15 ruby/3.1.2", "Homebrew/4.2.4 (Macintosh; arm64 Mac OS X 14.2.1) curl/8.4.0",
            "docker/24.0.7 go/go1.20.10 git-commit/311b9ff kernel/6.1.0-21-amd64 os/linux arch/amd64 UpstreamClient(Docker-Client/24.0.7 \\(linux\\))", "containerd/1.7.2", "skopeo/1.9.3", "Podman/4.3.1", "containers/5.23.1 (github.com/containers/image)", "Helm/3.14.0", "curl/8.5.0 Nix/2.18.1", "winget-cli WindowsPackageManager/1.6.3482 DesktopAppInstaller/Microsoft.DesktopAppInstaller v1.21.3482.0", "rustup/1.26.0", "R (4.3.1 x86_64-pc-linux-gnu x86_64 linux-gnu)", "flatpak/1.14.4", "F-Droid 1.19.1",
        ]),
        (VersionControl, &["git/2.39.5", "git/2.43.0.windows.1", "JGit/6.8.0.202311291450-r", "git/2.0 (libgit2 1.7.1)", "git-lfs/3.4.0 (GitHub; linux amd64; go 1.21.1)", "SVN/1.14.2 (x86_64-pc-linux-gnu) serf/1.3.9", "mercurial/proto-1.0 (Mercurial 6.3.2)", "go-git/5.x"]),
        (App, &["Dalvik/2.1.0 (Linux; U; Android 13; SM-G991B Build/TP1A.220624.014)", "okhttp/4.12.0", "Dart/3.4 (dart:io)", "MyApp/2.1 (iPhone; iOS 17.5; Scale/3.00)  CFNetwork/1498 Darwin/23.5", "MyApp/3.1 (com.example.app; build:7; iOS 17.5.0) Alamofire/5.9.1", "UnityPlayer/2021.3.5f1 (UnityWebRequest/1.0, libcurl/7.80.0-DEV)", "AndroidDownloadManager/13 (Linux; U; Android 13; Pixel 6 Build/TQ3A)", "grpc-python/1.85.0 grpc-c/55.0.0 (linux; chttp2)", "grpc-go/1.64.0", "grpc-java-netty/1.64.0", "grpc-node-js/1.10.8", "grpc-dotnet/2.63.0 (.NET 8.0.5; CLR 8.0.5; net8.0; linux; x64)", "tonic/0.14.2", "billing/2.0 grpc-c++/1.64.0 grpc-c/41.0.0 (linux; chttp2)", "volley/0", "QR Scanner/12 CFNetwork/1490 Darwin/23.2", "My Robot/3 CFNetwork/1220 Darwin/20.1", "MyScanner/2.0 okhttp/4.9.3", "com.example.app/5.1 (Linux; U; Android 12; en_US; Pixel 5; Build/SP1A; Cronet/100.0.4896.127)"]),
        (Sync, &["DAVx5/4.4-ose (dav4jvm; okhttp)", "Mozilla/5.0 (Linux) mirall/3.11.1git (Nextcloud, debian-6.1.0-21-amd64 ClientArchitecture: x86_64 OsArchitecture: x86_64)", "Mozilla/5.0 (Android) Nextcloud-android/3.28.0", "gvfs/1.50.3", "davfs2/1.6.1 neon/0.32.4", "cadaver/0.24 neon/0.32.4", "rclone/v1.60.1", "restic/0.14.0 (go1.19.8 on linux/amd64)", "WebDAVFS/3.0.0 (03008000) Darwin/22.5.0 (x86_64)", "WebDAVLib/1.3", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.0", "Evolution/3.46.4 (Debian)", "vdirsyncer/0.19.1", "CalDavSynchronizer/4.3", "ICSx5/2.2", "Joplin/1.0", "Cyberduck/8.7.3 (Mac OS X/13.5) (x86_64)", "Microsoft-WebDAV-MiniRedir/10.0.19045"]),
        (Office, &["Microsoft Office Existence Discovery", "Microsoft Office Protocol Discovery", "LibreOffice 7.4.7.2 denylistedbackend/7.88.1 OpenSSL/3.0.11", "LibreOffice"]),
        (Mail, &["YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"]),
        (Federation, &["Mastodon/4.2.9 (http.rb/5.1.1; +https://mastodon.example/)", "http.rb/5.1.1 (Mastodon/4.2.9; +https://scanner.example/) Bot", "Pleroma 2.6.0; https://pleroma.example <admin@pleroma.example>", "Misskey/2024.5.0 (https://misskey.example)", "Synapse/1.97.0", "Dendrite/0.13.5", "Lemmy/0.19.3; +https://lemmy.example", "PeerTube/6.0.3 (+https://peertube.example)", "GoToSocial/0.15.0 (+https://social.example)", "Friendica 'Yellow Archangel' 2023.12-1542; https://friendica.example"]),
        (HomeAutomation, &["HomeAssistant/2024.5.3 aiohttp/3.9.5 Python/3.12", "Home Assistant/2024.5.1-14401 (Android 14; Pixel 7)", "openHAB/4.1", "ESP8266HTTPClient"]),
        (SiteCheck, &["Mozilla/5.0 (compatible; Let's Encrypt validation server; +https://www.letsencrypt.org)", "W3C_Validator/1.3 http://validator.w3.org/services", "SSL Labs (https://www.ssllabs.com/about/assessment.html)"]),
        (Device, &["HbbTV/1.1.1 (+PVR;Humax;HD FOX+;1.00.12;1.0)CE-HTML/1.0", "Mozilla/5.0 (PlayStation 4 Pro 5.0)", "KOReader/2024.04"]),
        (Marketing, &["Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)"]),
    ];
    check(table);
}

fn check(table: &[(Purpose, &[&str])]) {
    for (purpose, agents) in table {
        for text in *agents {
            let agent = UserAgent::parse(text);
            let expected = (Some(*purpose), purpose.claim());
            assert_eq!((agent.purpose, agent.claim), expected, "{text}");
        }
    }
}

/// Devices, applications and places whose names contain a robot's word.
#[test]
fn what_only_sounds_like_a_robot_is_a_persons_browser() {
    #[rustfmt::skip]
    let browsers = [
        "Mozilla/5.0 (Linux; Android 11; CUBOT X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (Linux; Android 9; Robot 5 Build/PPR1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 QRScanner/1.2",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 QR Scanner",
        "Mozilla/5.0 (Linux; Android 13; Pixel 6; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36 BarcodeScanner/4.1",
        "Mozilla/5.0 (Linux; Android 13; Pixel 6; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36 Talbot/2.0",
        "Mozilla/5.0 (Linux; Android 13; Pixel 6; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36 BytedanceWebview/d8a21c6",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 musical_ly_33.5.0 BytedanceWebview/d8a21c6",
        "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; PriceChecker 1.0; .NET CLR 2.0.50727)",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 OpenJava/1",
        "Mozilla/5.0 (X11; U; Linux x86_64; en-us) AppleWebKit/531.2+ (KHTML, like Gecko) Safari/531.2+ Epiphany/2.30.6 libsoup/2.30",
        "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0 Splash/1.0",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15 Blackboard/3.1",
        "Mozilla/5.0 (Linux; Android 13; Pixel 6; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36 okhttp/4.9",
    ];
    for text in browsers {
        let claim = UserAgent::parse(text).claim;
        assert!(claim.browser().is_some(), "{claim:?} {text}");
    }
    for text in [
        "Lynx/2.9.0dev.12 libwww-FM/2.14 SSL-MM/1.4.1 GNUTLS/3.7.8",
        "VMS_Mosaic/3.8-1 (Motif;OpenVMS V7.3-2 DEC 3000 - M700)  libwww/2.12_Mosaic",
        "amaya/9.51 libwww/5.4.0",
    ] {
        assert_eq!(UserAgent::parse(text).claim, Claim::TextBrowser, "{text}");
    }
}

/// A robot in a browser's clothes says so: by what it is compatible with, or as a product.
#[test]
fn robots_in_a_browsers_name_are_robots() {
    for text in [
        "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko; compatible; examplebot/1.0) Chrome/126.0.0.0 Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 (compatible; PriceChecker/1.0)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 PartnerBot/1.0",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 (my-crawler)",
        "PartnerBot/1.0",
        "partnerbot",
        "FeedScanner",
    ] {
        assert_eq!(UserAgent::parse(text).claim, Claim::DeclaredBot, "{text}");
    }
}

/// Whose site it is or who answers for a program says nothing of what the program is.
#[test]
fn addresses_are_no_names() {
    let check = |text: &str, expected: Claim| {
        let agent = UserAgent::parse(text);
        assert_eq!(
            (agent.claim, agent.shape.contact),
            (expected, true),
            "{text}"
        );
    };
    check(
        "WordPress/6.5; https://scanner.example",
        Claim::Program(Purpose::Webhook),
    );
    check("Foo/1.0 (+https://nmap.example/gptbot)", Claim::Unknown);
    check("Foo/1.0 (crawler@python.example)", Claim::Unknown);
    check("Foo/1.0 www.curl.example", Claim::Unknown);
    check(
        "Google (+https://developers.google.com/+/web/snippet/)",
        Claim::Program(Purpose::LinkPreview),
    );
}
