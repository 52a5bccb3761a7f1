//! The built-in pipeline, and the reference configuration held against the defaults.

use super::{Config, standard_pipeline};

#[test]
fn the_built_in_pipeline_can_be_read() {
    assert_eq!(standard_pipeline().name.get_ref(), "standard");
}

#[test]
fn the_reference_shows_the_defaults() {
    let shown: Config = toml::from_str(include_str!("../../../etc/thornwall.toml")).unwrap();
    let unset: Config = toml::from_str("").unwrap();
    let settings = |config: &Config| {
        let (server, tarpit) = (&config.server, &config.tarpit);
        [
            format!("{} {}", server.threads.get_ref(), server.data_dir),
            format!(
                "{} {}",
                server.shutdown_grace_secs,
                server.recent_decisions.get_ref()
            ),
            format!("{:?} {:?}", server.models_dir, server.onnxruntime),
            format!(
                "{} {:?}",
                config.admin.address.get_ref(),
                config.admin.token_file
            ),
            config.access_log.file.clone(),
            format!("{:?}", config.client_address.trusted_proxies),
            config.client_address.header.get_ref().clone(),
            format!("{} {}", tarpit.max_connections, tarpit.max_per_client),
            format!(
                "{} {}",
                tarpit.interval_ms.get_ref(),
                tarpit.max_secs.get_ref()
            ),
        ]
    };
    assert_eq!(settings(&shown), settings(&unset));

    let upstream = &shown.upstream[0];
    let bare = "[[upstream]]\nname = \"x\"\nservers = []\n";
    let bare: Config = toml::from_str(bare).unwrap();
    let times = |u: &super::Upstream| {
        (
            u.connect_timeout_ms,
            u.read_timeout_secs,
            u.idle_timeout_secs,
        )
    };
    assert_eq!(times(upstream), times(&bare.upstream[0]));

    let bare = "[[listener]]\naddress = \"x\"\n\
        [[site]]\nname = \"x\"\nhosts = []\nupstream = \"x\"\n";
    let bare: Config = toml::from_str(bare).unwrap();
    assert_eq!(shown.listener[0].tls, bare.listener[0].tls);
    let redirects = |config: &Config| config.site[0].redirect_to_https;
    assert_eq!(redirects(&shown), redirects(&bare));
}

/// The lines of the reference that are comments only because their files are not there.
#[test]
fn the_references_examples_of_tls_can_be_read() {
    let text = include_str!("../../../etc/thornwall.toml");
    let examples: String = text
        .lines()
        .filter_map(|line| {
            let line = line.strip_prefix("# ")?;
            let keys = [
                "[[certificate]]",
                "hosts",
                "chain_file",
                "key_file",
                "ocsp_file",
            ];
            keys.iter()
                .any(|key| line.starts_with(key))
                .then(|| format!("{line}\n"))
        })
        .collect();
    let read: Config = toml::from_str(&examples).unwrap();
    assert_eq!(read.certificate.len(), 1);
    assert!(read.certificate[0].ocsp_file.is_some());
    let site: String = text
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.starts_with("hsts") || line.starts_with("client_certificate"))
        .map(|line| format!("{line}\n"))
        .collect();
    let head = "[[site]]\nname = \"x\"\nhosts = []\nupstream = \"x\"\n";
    let read: Config = toml::from_str(&format!("{head}{site}")).unwrap();
    let site = &read.site[0];
    assert!(site.hsts.is_some() && site.client_certificate.is_some());
}
