//! A certificate authority of a test's own.
//!
//! Whatever it is asked for is right by construction, so its functions panic where it cannot be had.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SerialNumber,
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};

/// Signs certificates with a key of its own.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate is to be like.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its subject alternative names; the first is its common name too.
    pub names: &'a [&'a str],
    /// Kind of its key.
    pub key: Key,
    /// Days from now to its beginning, negative for the past.
    pub begins_days: i64,
    /// Days from now to its end.
    pub ends_days: i64,
    /// Whether it is for clients instead of servers.
    pub client: bool,
    /// The last byte of its serial number.
    pub serial: u8,
}

/// Kinds of keys.
#[derive(Debug, Clone, Copy)]
pub enum Key {
    /// ECDSA with P-256.
    Ecdsa,
    /// RSA of 2048 bits.
    Rsa,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Self {
            names: &["t.example"],
            key: Key::Ecdsa,
            begins_days: -1,
            ends_days: 90,
            client: false,
            serial: 1,
        }
    }
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Issued {
    /// The certificate alone.
    pub certificate: Certificate,
    /// PEM of the certificate and of its authority.
    pub chain: String,
    /// PEM of the key.
    pub key: String,
}

impl Issued {
    /// The key as rustls takes it.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("the key was written as PEM")
    }
}

impl Authority {
    /// An authority of this name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (days(-3650).into(), days(3650).into());
        let key = KeyPair::generate().expect("a key can be made");
        Self {
            certificate: params.self_signed(&key).expect("the parameters are sound"),
            issuer: Issuer::new(params, key),
        }
    }

    /// PEM of the authority's own certificate.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The authority's own certificate.
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// A certificate of this kind, with a fresh key.
    pub fn issue(&self, wanted: Wanted<'_>) -> Issued {
        let names: Vec<String> = wanted.names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are names");
        if let [first, ..] = wanted.names {
            params.distinguished_name.push(DnType::CommonName, *first);
        }
        params.not_before = days(wanted.begins_days).into();
        params.not_after = days(wanted.ends_days).into();
        params.serial_number = Some(SerialNumber::from(vec![0x42, 0, wanted.serial]));
        params.extended_key_usages = vec![if wanted.client {
            ExtendedKeyUsagePurpose::ClientAuth
        } else {
            ExtendedKeyUsagePurpose::ServerAuth
        }];
        let algorithm = match wanted.key {
            Key::Ecdsa => &PKCS_ECDSA_P256_SHA256,
            Key::Rsa => &PKCS_RSA_SHA256,
        };
        let key = KeyPair::generate_for(algorithm).expect("a key can be made");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("the parameters are sound");
        Issued {
            chain: certificate.pem() + &self.pem(),
            key: key.serialize_pem(),
            certificate,
        }
    }
}

fn days(from_now: i64) -> SystemTime {
    let distance = Duration::from_secs(from_now.unsigned_abs() * 24 * 60 * 60);
    let now = SystemTime::now();
    if from_now < 0 {
        now - distance
    } else {
        now + distance
    }
}
