//! TLS towards servers of our own: whom to trust, and as whom to appear.

use std::{path::Path, sync::Arc};

use pingora::tls::load_platform_certs_incl_env_into_store;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs::default_provider};

use super::pem;

/// Trusts the authorities of `ca_file`, or those of the system, and shows the certificate of a chain
/// file and a key file, if there is one. The error names the file and what is wrong with it.
pub(crate) fn client_config(
    ca_file: Option<&Path>,
    certificate: Option<(&Path, &Path)>,
) -> Result<ClientConfig, String> {
    let roots = match ca_file {
        Some(path) => authorities(path)?,
        None => system_authorities()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let Some((chain_file, key_file)) = certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = pem::certificates(chain_file).map_err(named(chain_file))?;
    let key = pem::private_key(key_file).map_err(named(key_file))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(named(key_file))
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(path).map_err(named(path))? {
        roots.add(certificate).map_err(named(path))?;
    }
    Ok(roots)
}

fn system_authorities() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = load_platform_certs_incl_env_into_store(&mut roots);
    if found.is_err() || roots.is_empty() {
        return Err(
            "this system has no certificates of authorities; install them (Debian: \
                    ca-certificates), or name a ca_file"
                .to_owned(),
        );
    }
    Ok(roots)
}

fn named<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> String {
    move |error| format!("{}: {error}", path.display())
}
