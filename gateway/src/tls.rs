//! stub
use std::sync::Arc;
use thornwall_filters::build::BuildContext;
#[derive(Debug, Clone)]
pub struct Policy;
#[derive(Debug)]
pub struct Tls(Option<Arc<rustls::ServerConfig>>);
pub struct Chosen {
    pub config: Arc<rustls::ServerConfig>,
    pub policy: Policy,
}
impl Tls {
    pub fn build(c: &crate::config::Config, x: &mut BuildContext) -> Option<Self> {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
        let Some(f) = c.certificate.first() else {
            return Some(Self(None));
        };
        let chain = CertificateDer::pem_file_iter(x.resolve(f.chain_file.get_ref()))
            .ok()?
            .collect::<Result<Vec<_>, _>>()
            .ok()?;
        let key = PrivateKeyDer::from_pem_file(x.resolve(f.key_file.get_ref())).ok()?;
        let mut s = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .ok()?;
        s.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Some(Self(Some(Arc::new(s))))
    }
    pub fn server_config(&self, _: Option<&str>) -> Option<Chosen> {
        self.0.clone().map(|config| Chosen {
            config,
            policy: Policy,
        })
    }
}
