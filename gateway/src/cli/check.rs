//! `thornwall check`: the pipelines as they will run.

use std::{fmt::Write, path::Path};

use thornwall_filters::{kinds::KindFacts, mode::Mode};
use thornwall_settings::token::Token;

use super::{bold, build, print};
use crate::{
    data_dir::check_link_secret,
    generation::{Backend, Cold, Generation, Route},
    limits::ListenerFacts,
};

pub(super) fn check(path: &Path) -> Result<(), String> {
    let generation = build(path)?;
    secrets(&generation.cold)?;
    print(&describe(path, &generation));
    Ok(())
}

/// Files that `run` would refuse. Where one is missing, `run` makes it.
fn secrets(cold: &Cold) -> Result<(), String> {
    let viewer = cold.viewer_token_file.as_deref();
    for token in [Some(cold.token_file.as_path()), viewer]
        .into_iter()
        .flatten()
    {
        Token::check(token).map_err(|error| error.to_string())?;
    }
    check_link_secret(&cold.data_dir).map_err(|error| error.to_string())
}

fn describe(path: &Path, generation: &Generation) -> String {
    let mut text = format!("{}: ok\n", path.display());
    let cold = &generation.cold;
    let _ = writeln!(text, "listeners  {}", listeners(cold));
    let _ = writeln!(text, "admin      {}", cold.admin);
    let _ = writeln!(text, "threads    {}", cold.threads);
    for site in &generation.sites {
        let _ = writeln!(text, "\n{} {}", bold("site"), site.name);
        for route in &site.routes {
            describe_route(&mut text, route);
        }
    }
    for warning in &generation.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

fn describe_route(text: &mut String, route: &Route) {
    match &route.backend {
        Backend::Upstream(upstream) => {
            let (name, what) = (&upstream.name, upstream.describe());
            let _ = writeln!(text, "  upstream {name} ({what})");
        }
    }
    let pipeline = &route.pipeline;
    let _ = writeln!(text, "  pipeline {}", pipeline.name);
    for (at, (name, kind, mode)) in pipeline.describe().enumerate() {
        let note = match mode {
            Mode::Enforce => "",
            Mode::Observe => "  (observes only)",
        };
        let KindFacts { name: kind, cost } = kind;
        let _ = writeln!(text, "    {}. {name:<16} {kind:<12} {cost}{note}", at + 1);
    }
    for (action, score) in pipeline.ladder().rungs() {
        let action = action.name();
        let _ = writeln!(text, "    score {score:.2} and above: {action}");
    }
}

/// Each public socket, and what is spoken there.
fn listeners(cold: &Cold) -> String {
    let describe = |(address, facts): &(String, ListenerFacts)| {
        let tls = if facts.tls { " (TLS)" } else { "" };
        let proxy = if facts.proxy_protocol { " (PROXY)" } else { "" };
        format!("{address}{tls}{proxy}")
    };
    cold.listeners
        .iter()
        .map(describe)
        .collect::<Vec<_>>()
        .join(", ")
}
