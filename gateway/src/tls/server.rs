//! How handshakes are made: versions, suites, groups, tickets.

use std::sync::Arc;

use rustls::{
    Error, ServerConfig,
    crypto::{
        CryptoProvider, aws_lc_rs,
        aws_lc_rs::{
            cipher_suite::{
                TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256,
                TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
            },
            kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768},
        },
    },
    server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier},
    version::{TLS12, TLS13},
};

use super::{client::ClientPolicy, names::Certificates};

/// What is spoken above TLS, the better one first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The cryptography of handshakes: forward secrecy and authenticated encryption alone, as RFC 9325
/// section 4.2 asks for; 128 bits first, which cannot be broken and cost less.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![
        TLS13_AES_128_GCM_SHA256,
        TLS13_AES_256_GCM_SHA384,
        TLS13_CHACHA20_POLY1305_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    provider.kx_groups = vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1];
    Arc::new(provider)
}

/// Keys of session tickets: made now, replaced every six hours, good for another six.
pub(super) fn fresh_tickets() -> Result<Arc<dyn ProducesTickets>, Error> {
    aws_lc_rs::Ticketer::new()
}

/// The configuration of one handshake policy. Sessions live in tickets alone, so their number costs
/// nothing; each policy has ticket keys of its own, so no ticket is good under another policy.
pub(super) fn config(
    certificates: Arc<Certificates>,
    policy: Option<&ClientPolicy>,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, Error> {
    let verifier = match policy {
        Some(policy) => policy.verifier()?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificates);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    config.ignore_client_order = true;
    // A request in early data can be sent again by all who have seen it (RFC 8470).
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets;
    Ok(config)
}
