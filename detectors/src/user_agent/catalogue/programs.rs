//! Programs that people and their machines use: readers, players, package managers, synchronisation.

/// Programs that fetch feeds for a reader, hosted or on the reader's machine.
pub(super) const FEED_READERS: &[&str] = &[
    "akregator", "artemis web reader", "bazqux", "bloglines", "bloglovin", "blogtrottr",
    "capy reader", "commafeed", "digg deeper", "dlvr.it", "elfeed", "everyfeed-spider",
    "feed-fetcher", "feedbin", "feedblitz", "feedbot", "feedbro", "feedburner", "feeddemon",
    "feedeen", "feeder.co", "feeder/", "feedfetcher-google", "feedflow", "feedly", "feedlybot",
    "feedparser", "feedpress", "feedpresso content index bot", "feedsearch bot", "feedspot",
    "feedspotbot", "feedzirra", "feeeed", "fiery feeds", "flipboardrss", "fluent-reader",
    "freshrss", "g2reader-bot", "gwene", "inoreader", "kill the newsletter", "ksfeed", "liferea",
    "^lire/", "livejournal.com", "magpierss", "miniflux", "monitorss", "netnewswire", "netvibes",
    "newsbeuter", "newsblur", "newsboat", "newsfire", "newsflash", "newsgator", "newsify",
    "newsraft", "nextcloud-news", "nextnews", "nunux", "omea reader", "openrss", "owncloud news",
    "planet venus", "planetplanet", "quiterss", "raven reader", "rawdog", "readkit", "readwise",
    "reeder", "rome client", "rss guard", "rss-bridge", "rss2email", "rss2tg", "rssapi", "rssbot",
    "rssguard", "rsshub", "rssingbot", "rssowl", "rssreaderbot", "scourrssbot", "selfoss", "sfeed",
    "sharpreader", "simplepie", "snownews", "^stringer", "superfeedr", "tapatalk", "the old reader",
    "theoldreader", "tiny tiny rss", "tt-rss", "universalfeedparser", "unread rss", "^vienna",
    "yandorirssbot", "yarr", "zapier rss",
];

/// What fetches episodes for a listener.
pub(super) const PODCASTS: &[&str] = &[
    "anchorfm", "antennapod", "apple-podcasts", "applepodcasts", "audioboom", "beyondpod",
    "^breaker", "bullhorn", "castamatic", "castbox", "^castro", "clementine", "deezer podcasts",
    "doggcatcher", "^doughnut", "downcast", "fountain.fm", "fyyd-poll", "gnome podcasts",
    "goodpods", "google-podcast", "gpodder", "icatcher", "itms", "^juice", "kasts", "listen notes",
    "mediamonkey", "overcast", "playapod", "player fm", "playerfm", "pocket casts", "pocketcasts",
    "podbean", "podcast addict", "podcast guru", "podcast republic", "podcastaddict", "podcastguru",
    "podcastindex", "podcastrepublic", "podchaser", "podfriend", "podhero", "podimo", "podkicker",
    "podme", "podnews", "podnewsbot", "podplay", "podverse", "procast", "radiopublic", "spotify/",
    "stitcher/", "tunein", "turtlecast", "vodacast",
];

/// What plays sound and film.
pub(super) const MEDIA_PLAYERS: &[&str] = &[
    "aimp", "alexamediaplayer", "amarok", "androidxmedia3", "apple tv/", "applecoremedia",
    "audacious", "bluos", "bose/", "chromecast", "cmus", "coremedia", "deadbeef", "emby",
    "exoplayer", "exoplayerlib", "ffmpeg", "foobar2000", "gstreamer", "ipeng", "iptv", "itunes/",
    "jellyfin", "just_audio", "kmplayer", "kodi", "lavf", "libmpv", "libvlc",
    "logitech media server", "lyrion", "mpc-hc", "mpc-qt", "^mpd", "mplayer", "mpv",
    "^music player daemon", "mx player", "mxplayer", "nsplayer", "^nuplayer", "ott player",
    "perfect player", "perfectplayer", "plex", "plexmediaserver", "potplayer", "qtmediaplayer",
    "quicktime", "quodlibet", "radiodroid", "realmedia", "realplayer", "rhythmbox", "roku/",
    "rokuradio", "shoutcast", "smplayer", "sonos", "squeezebox", "squeezelite", "squeezenetwork",
    "stagefright", "strawberry", "streamlink", "streamripper", "subsonic", "tivimate", "^totem",
    "tvheadend", "vlc", "volumio", "winamp", "winampmpeg", "windows-media-player", "wmfsdk",
    "wmplayer", "xbmc", "xine", "xmms", "xmplay", "xplayer", "yatse", "youtube-dl", "yt-dlp",
];

/// What installs packages, images and modules.
pub(super) const PACKAGE_MANAGERS: &[&str] = &[
    "apache-ivy", "apache-maven", "apk-tools", "appstore/", "apt-cacher-ng", "apt-curl", "apt-http",
    "apt/", "aptitude", "artifactory", "bazel", "bazelisk", "berkshelf", "^bower", "buildah",
    "buildkit", "bun/", "bundler", "cabal-install", "cachix", "cargo", "carthage", "chef client",
    "chocolatey", "cocoapods", "composer", "conan", "^conda", "conda/", "containerd", "containers/",
    "coursier", "cpan", "cpanm", "cpanminus", "cpanplus", "^crane/", "cri-o", "cvmfs",
    "cypress binary", "dart pub", "deb-multimedia", "debian apt", "dependabot", "diun", "dnf",
    "dnf5", "docker", "dockerhub", "^dub/", "easy_install", "electron-updater", "f-droid", "fdroid",
    "flatpak", "fwupd", "^gem/", "ggcr", "gitlab-runner", "go-containerregistry", "gomodulemirror",
    "goproxy", "gradle", "guix", "hackage-security", "^harbor", "helm", "^hex/", "homebrew",
    "image-syncer", "jitpack", "^julia", "kaniko", "krew", "leiningen", "libalpm", "libdnf",
    "libostree", "libpod", "librepo", "luarocks", "macports", "mamba", "microsoft bits",
    "microsoft-cryptoapi", "microsoft-delivery-optimization", "^mix/", "nix/", "nixpkgs", "^npm",
    "npm-registry-fetch", "npm/", "nuget", "opam", "openpkg", "opentofu", "opkg", "oras", "ostree",
    "packagekit", "^packagist", "pacman", "paket", "pamac", "paru", "^pdm/", "^pear/", "^pip",
    "pip/", "pipenv", "^pipx", "pixi", "^pkg/", "pkg_add", "pkgng", "pkgsrc", "pnpm", "podman",
    "poetry", "portage", "powershellget", "psresourceget", "puppet", "^r (", "rebar3", "regclient",
    "regctl", "renovate", "renovatebot", "reprepro", "rpm", "rubygems", "rustup", "sbt", "scoop",
    "skopeo", "snapd", "sonatype", "spack", "^squid-deb-proxy", "steam/", "swift package manager",
    "swiftpm", "swupd", "terraform", "tlmgr", "trivy", "twine", "^uv ", "uv/", "vagrant", "vcpkg",
    "verdaccio", "vsce", "wapt", "windows-update-agent", "windowspackagemanager", "winget", "xbps",
    "^yarn", "yarn/", "yay/", "yum", "zigup", "zypp", "zypper",
];

/// What clones and fetches repositories.
pub(super) const VERSION_CONTROL: &[&str] = &[
    "bazaar", "breezy", "^bzr", "bzr/", "darcs", "dulwich", "egit", "fossil", "gerrit", "^git ",
    "git-annex", "git-credential-manager", "git-lfs", "git/", "github desktop", "githubdesktop",
    "gitkraken", "gitoxide", "gix", "go-git", "isomorphic-git", "jgit", "jujutsu", "libgit2",
    "mercurial", "p4/", "perforce", "pijul", "plasticscm", "serf/", "sourcetree", "subversion",
    "^svn", "svn/", "svnkit", "tortoisegit", "tortoisehg", "tortoisesvn",
];

/// What keeps calendars, contacts, files and backups the same here and there.
pub(super) const SYNC: &[&str] = &[
    "acalendar", "addressbook", "addressbooksourcesync", "aerc", "^anki", "bitwarden", "borgbackup",
    "business calendar", "businesscal", "cadaver", "caldav", "caldavsynchronizer", "caldavzap",
    "calendar/", "calendaragent", "calendars/", "calengoo", "carddav", "carddavsynchronizer",
    "cloudberry", "contacts++", "coredav", "cyberduck", "dataaccessd", "davdroid", "davfs2",
    "davlib", "davmail", "davx5", "davx\u{2075}", "duplicacy", "duplicati", "duplicity", "easysync",
    "em client", "emclient", "es file explorer", "etesync", "^evolution", "evolution-data-server",
    "evolution/", "fantastical", "fbreader opds", "floccus", "foldersync", "forklift",
    "freefilesync", "gnome-calendar", "gnome-online-accounts", "goa-daemon", "goodsync", "gvfs",
    "ical/", "ical4android", "icalendar", "icsdroid", "icsx5", "iphone-contacts", "joplin",
    "kaldav", "kdav", "keepass", "keepass2android", "keepassxc", "keeweb", "khal", "kio/",
    "konqueror dav", "kopia", "korganizer", "libreoffice-dav", "lightning/", "litmus",
    "microsoft data access internet publishing provider", "mirakel", "mirall", "mountain duck",
    "mountainduck", "neon/", "netdrive", "nextcloud", "obsidian", "oc-ios", "^ocapp", "omnifocus",
    "onecalendar", "onedrive", "onedrivempc", "onlyoffice-sync", "opensync", "opentasks",
    "org-mode", "org.tasks", "orgzly", "owncloud", "owncloudapp", "pcloud", "php-sabre", "pimsync",
    "plasma-dav", "radicale", "raidrive", "rclone", "^reminders", "reminders/", "remindersd",
    "rest-server", "restic", "rustic", "s3fs", "sabredav", "sardine", "seafile", "sharepoint",
    "simple calendar", "sogo", "solid explorer", "standardnotes", "sunbird", "synccal",
    "syncevolution", "syncthing", "synology", "synologydrive", "thunderbird", "total commander",
    "transmit/", "vdirsyncer", "vorta", "webdav", "webdavfs", "webdavlib", "webdrive", "winscp",
    "xandikos", "zimbra", "zotero",
];

/// What reads mail, or brings the images in it.
pub(super) const MAIL: &[&str] = &[
    "airmail", "apple mail", "applemail", "barracuda sentinel", "bluemail", "canary mail",
    "claws mail", "edison mail", "fairemail", "geary", "googleimageproxy", "k-9 mail", "k9mail",
    "kmail", "lotus-notes", "macoutlook", "mail/", "mailspring", "microsoft outlook", "mimestream",
    "mutt", "newton mail", "outlook mobile", "outlook-android", "outlook-ios", "postbox",
    "proton mail", "protonmail", "rainloop", "roundcube", "shortwave image fetcher", "spicebird",
    "superhuman", "the bat!", "tutanota", "windows-live-mail", "yahoomailproxy", "yahoomobilemail",
    "zimbra image proxy", "zohomail",
];

/// What opens the links of documents.
pub(super) const OFFICE: &[&str] = &[
    "abiword", "acrobat/", "apache openoffice", "collabora", "^excel/", "foxit", "gnumeric",
    "google-apps-script", "google-sheets", "libreoffice", "microsoft access", "microsoft excel",
    "microsoft office", "microsoft office excel", "microsoft office existence discovery",
    "microsoft office onenote", "microsoft office powerpoint",
    "microsoft office protocol discovery", "microsoft office upload center",
    "microsoft office word", "microsoft office/", "microsoft onenote", "microsoft power query",
    "microsoft powerpoint", "microsoft project", "microsoft publisher", "microsoft visio",
    "microsoft word", "microsoft.data.mashup", "ms frontpage", "ms office",
    "ms web services client protocol", "ms-office", "msoffice", "^office/", "officeonline",
    "onlyoffice", "openoffice", "openoffice.org", "power query", "powerbi", "^powerpoint/",
    "winword", "^word/", "wps office",
];

/// What runs a home.
pub(super) const HOME_AUTOMATION: &[&str] = &[
    "arduino", "arduinohttpclient", "athom", "avm fritz", "domoticz", "esp32", "esp32httpclient",
    "esp8266", "esp8266httpclient", "esphome", "esphomelib", "fhem", "^fritz", "fritz!box",
    "gladys", "hass.io", "home assistant", "home-assistant", "homeassistant", "homebridge",
    "homegear", "homekit", "homekitd", "homey", "hubitat", "iobroker", "jeedom", "loxone",
    "magicmirror", "micropython", "node-red", "nodemcu", "octoprint", "openhab", "shelly",
    "smartthings", "tasmota", "wled",
];

/// Televisions, consoles, e-readers and set-top boxes by names of their own.
pub(super) const DEVICES: &[&str] = &[
    "apple tv", "appletv", "bada/", "blackberry", "blu-ray", "brightsign", "calibre", "coolreader",
    "dreambox", "enigma2", "fbreader", "formuler", "googletv", "hbbtv", "kindle", "kobo",
    "koreader", "lg netcast", "lg smart tv", "mag200", "mag250", "moon+ reader", "moonreader",
    "netgem", "netrange", "nintendo", "openpli", "playstation", "pocketbook", "readera", "roku",
    "smart-tv", "smarthub", "smarttv", "sonybdp", "tivo", "vidaa", "vizio", "web0s", "webos",
    "xbox",
];

/// What applications are built with, by systems that only applications run on.
pub(super) const APP_PLATFORMS: &[&str] = &[
    "afnetworking", "alamofire", "android download manager", "^android-async-http",
    "androiddownloadmanager", "asihttprequest", "barcelona", "cfnetwork", "com.android.vending",
    "crnet", "cronet", "dalvik", "dfcronet", "expo/", "geckoview", "^glide", "godot engine",
    "godotengine", "gsa/", "^instagram", "kingfisher", "minecraft", "nsurlconnection",
    "nsurlsession", "picasso", "react-native", "reactnative", "retrofit", "roblox", "robloxapp",
    "scale/", "sdwebimage", "ttnet", "^unity", "unityplayer", "unityweb", "unitywebrequest",
    "unreal engine", "unrealengine", "urlsession", "valve/steam", "volley", "windows store",
    "windows-rss-platform", "winrt", "x-unity-version", "xamarin",
];

/// Stacks that applications leave under their default name as often as scrapers do.
pub(super) const APP_STACKS: &[&str] = &[
    "^coil", "^dart/", "dart:io", "^dio/", "flutter", "^fuel", "ktor client", "ktor-client",
    "nativescript", "okhttp", "okio", "^qt", "qt/", "qtnetwork", "tauri", "windows.web.http",
];

/// Stacks of remote calls (gRPC, Connect), which read no pages. They name their language, which is a library's
/// name elsewhere.
pub(super) const CALL_STACKS: &[&str] = &[
    "^connect-es", "^connect-go", "^grpc-c", "^grpc-c++", "grpc-c/", "^grpc-csharp", "^grpc-dart",
    "^grpc-dotnet", "^grpc-go", "grpc-go/", "^grpc-java", "grpc-java-netty", "grpc-java-okhttp",
    "^grpc-kotlin", "^grpc-node", "^grpc-node-js", "grpc-node-js/", "^grpc-objc", "^grpc-php",
    "^grpc-python", "^grpc-python-asyncio", "grpc-python/", "^grpc-ruby", "^grpc-swift",
    "^grpc-web-javascript", "tonic/",
];
