//! The settings that a reload cannot change, checked.

use std::{ops::RangeInclusive, thread::available_parallelism};

use thornwall_settings::{file::ConfigFile, load::Problem, report::Report};

use super::{Cold, edge, socket_address};
use crate::{
    config::{self, Config},
    escalate,
    shared_store::StoreSettings,
};

/// More threads than any machine has are a mistake.
const MOST_THREADS: usize = 1024;

pub(super) fn threads(config: &Config) -> usize {
    match *config.server.threads.get_ref() {
        0 => available_parallelism().map_or(1, usize::from),
        threads => threads.min(MOST_THREADS),
    }
}

/// The most take some 100 MiB.
const DECISIONS: RangeInclusive<usize> = 1024..=4_194_304;

/// Sockets, threads and the ring of recent decisions.
fn check_process(config: &Config, file: &ConfigFile, report: &mut Report) {
    if config.listener.is_empty() {
        report.problems.push(Problem::in_file(
            &file.path,
            "no listener; expected a `[[listener]]` with an address",
        ));
    }
    for listener in &config.listener {
        if socket_address(listener).is_none() {
            let what = no_socket(listener.address.get_ref());
            report.problem(listener.address.span(), what);
        }
    }
    let admin = config.admin.address.get_ref();
    match admin.parse::<std::net::SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => report.warnings.push(format!(
            "admin.address = \"{admin}\" listens on every network; it belongs on a private one"
        )),
        Ok(_) => {}
        Err(_) => report.problem(config.admin.address.span(), no_socket(admin)),
    }
    if *config.server.threads.get_ref() > MOST_THREADS {
        let what = format!("too many threads; expected at most {MOST_THREADS}");
        report.problem(config.server.threads.span(), what);
    }
    let recent = *config.server.recent_decisions.get_ref();
    if !(16..=1 << 20).contains(&recent) {
        let what = "out of bounds; expected 16 to 1048576 decisions";
        report.problem(config.server.recent_decisions.span(), what);
    }
}

pub(super) fn cold(config: &Config, file: &ConfigFile, report: &mut Report) -> Option<Cold> {
    let before = report.problems.len();
    check_process(config, file, report);
    let decisions = most_decisions(&config.store, report);
    let shared = StoreSettings::read(&config.store, report);
    check_privacy(config, report);
    let tenant = config.store.tenant.get_ref();
    let escalation = config.escalation.as_ref();
    let escalation = escalation.and_then(|spec| escalate::Settings::read(spec, tenant, report));
    let data_dir = report.resolve(&config.server.data_dir);
    let resolved = |path: &Option<String>| path.as_ref().map(|path| report.resolve(path));
    let shared = shared.filter(|_| report.problems.len() == before)?;
    Some(Cold {
        listeners: config.listener.iter().map(edge::listener).collect(),
        admin: config.admin.address.get_ref().clone(),
        threads: threads(config),
        token_file: match &config.admin.token_file {
            Some(path) => report.resolve(path),
            None => data_dir.join("admin.token"),
        },
        viewer_token_file: resolved(&config.admin.viewer_token_file),
        store: *config.store.kind.get_ref(),
        shared,
        escalation,
        max_decisions: decisions,
        data_dir,
        access_log: access_log(&config.access_log.file, report),
        recent_decisions: *config.server.recent_decisions.get_ref(),
        privacy: *config.privacy.mode.get_ref(),
        nftables_file: resolved(&config.export.nftables_file),
        fail2ban_log: resolved(&config.export.fail2ban_log),
        onnxruntime: resolved(&config.server.onnxruntime),
    })
}

/// As [`cold`], and also validates the files that background tasks will read.
pub(super) fn cold_with_files(
    config: &Config,
    file: &ConfigFile,
    report: &mut Report,
) -> Option<Cold> {
    let cold = cold(config, file, report)?;
    cold.shared.check(&config.store, report);
    if let (Some(settings), Some(spec)) = (&cold.escalation, &config.escalation) {
        settings.check(spec, report);
    }
    Some(cold)
}

fn most_decisions(spec: &config::Store, report: &mut Report) -> usize {
    let decisions = *spec.max_decisions.get_ref();
    if !DECISIONS.contains(&decisions) {
        let (least, most) = DECISIONS.into_inner();
        let what = format!("out of bounds; expected {least} to {most} decisions");
        report.problem(spec.max_decisions.span(), what);
    }
    decisions
}

/// Addresses that are handed out cannot be taken back: they are handed out as they are or not at
/// all.
fn check_privacy(config: &Config, report: &mut Report) {
    if *config.privacy.mode.get_ref() == config::PrivacyMode::Full {
        return;
    }
    let handed_out = [
        (
            "export.nftables_file",
            config.export.nftables_file.is_some(),
        ),
        ("export.fail2ban_log", config.export.fail2ban_log.is_some()),
        ("store.url", config.store.url.is_some()),
        ("escalation", config.escalation.is_some()),
    ];
    for (key, _) in handed_out.iter().filter(|(_, is_set)| *is_set) {
        let what = format!(
            "{key} hands out addresses, which privacy.mode forbids; expected one of the two, or \
             privacy.mode = \"full\""
        );
        report.problem(config.privacy.mode.span(), what);
    }
}

fn no_socket(text: &str) -> String {
    format!("`{text}` is no socket address; expected address and port, such as \"127.0.0.1:8080\"")
}

fn access_log(file: &str, report: &Report) -> String {
    match file {
        "stdout" | "off" => file.to_owned(),
        path => report.resolve(path).display().to_string(),
    }
}
