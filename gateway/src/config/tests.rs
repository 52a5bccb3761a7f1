//! The built-in pipeline, and the reference configuration held against the defaults.

mod limits;

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
            format!("{:?}", config.privacy.mode.get_ref()),
            format!("{:?}", config.export),
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
    let bare = "[[upstream]]\nname = \"x\"\nservers = [{ address = \"x\" }]\n";
    let bare: Config = toml::from_str(bare).unwrap();
    let settings = |u: &super::Upstream| {
        let server = &u.servers.get_ref()[0];
        [
            format!("{} {}", server.weight.get_ref(), server.max_connections),
            format!("{:?} {:?} {:?}", u.balance.get_ref(), u.http, u.tls),
            format!("{:?} {:?}", u.hash, u.sticky_cookie),
            format!(
                "{} {:?} {:?}",
                u.connect_timeout_ms, u.try_timeout_ms, u.total_timeout_secs
            ),
            format!(
                "{} {} {} {}",
                u.read_timeout_secs, u.idle_timeout_secs, u.resolve_secs, u.receive_buffer_bytes
            ),
            format!("{:?} {:?}", u.health_check, u.ejection.get_ref()),
            format!("{:?} {:?}", u.retry.get_ref(), u.queue.get_ref()),
        ]
    };
    assert_eq!(settings(upstream), settings(&bare.upstream[0]));

    let bare = "[[feed]]\nname = \"x\"\n";
    let commented = reference_feed();
    let bare: Config = toml::from_str(bare).unwrap();
    let shown_feed: Config = toml::from_str(&commented).unwrap();
    let settings = |feed: &super::Feed| {
        format!(
            "{:?} {} {} {} {}",
            feed.format,
            feed.every_secs.get_ref(),
            feed.lifetime_secs.get_ref(),
            feed.max_bytes.get_ref(),
            feed.allow_private
        )
    };
    assert_eq!(settings(&shown_feed.feed[0]), settings(&bare.feed[0]));

    let bare = "[[site]]\nname = \"x\"\nhosts = []\nupstream = \"x\"\n";
    let bare: Config = toml::from_str(bare).unwrap();
    assert_eq!(shown.site[0].max_body_bytes, bare.site[0].max_body_bytes);
}

/// The feed of the reference, without its comment marks.
fn reference_feed() -> String {
    let reference = include_str!("../../../etc/thornwall.toml");
    let lines = reference
        .lines()
        .skip_while(|line| !line.starts_with("# [[feed]]"));
    let lines = lines.map_while(|line| line.strip_prefix("# "));
    lines.collect::<Vec<_>>().join("\n")
}
