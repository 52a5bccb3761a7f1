//! Names and paths by which the kind of a path is known.

/// Never linked: credentials, repositories, dumps and holes of well-known products.
pub(super) const HOLES: &[&str] = &[
    "/.aws/", "/.bash_history", "/.docker/", "/.ds_store", "/.env", "/.git", "/.hg/",
    "/.htaccess", "/.htpasswd", "/.kube/", "/.npmrc", "/.ssh/", "/.svn/", "/.vscode/",
    "/_ignition/execute-solution", "/actuator/env", "/actuator/gateway", "/actuator/heapdump",
    "/backup.sql", "/boaform/", "/c99.php", "/cgi-bin/luci", "/database.sql", "/db.sql",
    "/debug/default/view", "/dump.sql", "/etc/passwd", "/eval-stdin.php", "/evox/about",
    "/goform/", "/gponform/", "/hnap1", "/id_rsa", "/nmaplowercheck", "/phpinfo.php",
    "/proc/self/environ", "/remote/fgt_lang", "/server-status", "/sftp-config.json",
    "/shell.php", "/solr/admin/", "/vendor/phpunit/", "/web.config", "/wp-config.bak",
    "/wp-config.php", "/wp-config.txt",
];

/// Doors of common products: scanners try them everywhere, editors use them on their own site.
pub(super) const DOORS: &[&str] = &[
    "/adminer.php", "/administrator/", "/cgi-bin/", "/manager/html", "/myadmin", "/phpmyadmin",
    "/pma/", "/wp-admin", "/wp-json/wp/v2/users", "/wp-login.php", "/xmlrpc.php",
];

/// Extensions of what pages consist of, and of downloads.
pub(super) const ASSETS: &[&str] = &[
    "apk", "avif", "avi", "bmp", "css", "csv", "cur", "deb", "dmg", "doc", "docx", "eot",
    "epub", "exe", "flac", "gif", "gz", "ico", "iso", "jpeg", "jpg", "js", "json", "m3u8",
    "m4a", "m4s", "m4v", "map", "mjs", "mov", "mp3", "mp4", "mpd", "msi", "ogg", "ogv", "opus",
    "otf", "pdf", "png", "ppt", "pptx", "rar", "rpm", "svg", "swf", "tar", "tgz", "tif", "tiff",
    "ts", "ttf", "txt", "vtt", "wasm", "wav", "webm", "webmanifest", "webp", "woff", "woff2",
    "xls", "xlsx", "xz", "zip", "zst",
];

/// Extensions of feeds and of other lists that programs read.
pub(super) const FEED_EXTENSIONS: &[&str] = &[
    "atom", "ics", "opml", "rdf", "rss", "xml",
];

/// Last segments that name a feed.
pub(super) const FEED_NAMES: &[&str] = &[
    "atom", "feed", "feeds", "rss",
];
