//! Whose robots.txt a request is about, and the one that it is answered with.

use std::{sync::Arc, time::Duration};

use pingora::http::RequestHeader;

use crate::{
    exchange::Exchange,
    forward::sent_authority,
    hosts::split_authority,
    robots::{FileKey, RobotsFile, counts},
};

/// The file of the host that a request asks for, where it is known; else it is to be read.
pub(super) fn known(
    request: &RequestHeader,
    exchange: &Exchange,
    now: Duration,
) -> Option<Arc<RobotsFile>> {
    let generation = &exchange.generation;
    (generation.robots).of(&file_key(request, exchange)?, &generation.hosts, now)
}

/// The file to answer a request for it with.
pub(super) async fn answer(
    request: &RequestHeader,
    exchange: &Exchange,
    now: Duration,
) -> Option<Arc<RobotsFile>> {
    let generation = &exchange.generation;
    let file_key = file_key(request, exchange)?;
    (generation.robots)
        .answer(&file_key, &generation.hosts, now)
        .await
}

/// Whose file a request is about.
fn file_key<'a>(request: &RequestHeader, exchange: &'a Exchange) -> Option<FileKey<'a>> {
    // A request without a host asks for no host's file.
    if exchange.asked.host.is_empty() {
        return None;
    }
    let sent = sent_authority(request)?;
    let port = if sent.len() > exchange.asked.host.len() {
        split_authority(sent).and_then(|(_, port)| port)
    } else {
        None
    };
    let ports = &exchange.generation.ports;
    Some(FileKey {
        site: exchange.site()?.id,
        secure: exchange.asked.secure,
        host: &exchange.asked.host,
        port: port.filter(|port| counts(ports, exchange.asked.secure, *port)),
    })
}
