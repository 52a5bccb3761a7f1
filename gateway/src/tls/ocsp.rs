//! OCSP responses (RFC 6960) that are stapled: read for their dates and for whom they are about.
//! Their signature is the client's to check.

use der::Decode;
use thiserror::Error;
use x509_ocsp::{BasicOcspResponse, CertStatus, OcspGeneralizedTime, OcspResponse};

use super::certificate::date;

/// A response that ends sooner deserves a word: responders renew theirs days before.
const SOON_SECS: i64 = 24 * 60 * 60;

/// Why a file is no response that could be stapled.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum OcspError {
    /// Not DER, or not of this structure.
    #[error("no OCSP response: {0}; expected DER, as `openssl ocsp -respout` writes it")]
    Malformed(der::Error),
    /// About other certificates.
    #[error("the OCSP response is about another certificate; expected serial number {0}")]
    Other(String),
    /// The responder said nothing about any certificate.
    #[error("the OCSP responder refused to answer: {0}")]
    Refused(String),
    /// A type of response that nobody uses.
    #[error("an OCSP response of an unknown type; expected a basic one (RFC 6960 section 4.2.1)")]
    Type,
}

/// What a response says about a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    status: Status,
    /// Seconds since 1970 from which on it holds.
    from: i64,
    /// Seconds since 1970 at which it ends.
    pub(super) until: i64,
}

#[derive(Debug, PartialEq, Eq)]
enum Status {
    Good,
    Revoked,
    Unknown,
}

/// Reads what the response says about the certificate of this serial number.
pub(super) fn read(der: &[u8], serial: &[u8]) -> Result<Response, OcspError> {
    let response = OcspResponse::from_der(der).map_err(OcspError::Malformed)?;
    let Some(bytes) = response.response_bytes else {
        return Err(OcspError::Refused(format!(
            "{:?}",
            response.response_status
        )));
    };
    if bytes.response_type != BASIC {
        return Err(OcspError::Type);
    }
    let basic =
        BasicOcspResponse::from_der(bytes.response.as_bytes()).map_err(OcspError::Malformed)?;
    let about = |known: &[u8]| significant(known) == significant(serial);
    let found = basic
        .tbs_response_data
        .responses
        .iter()
        .find(|single| about(single.cert_id.serial_number.as_bytes()));
    let Some(single) = found else {
        return Err(OcspError::Other(hexadecimal(serial)));
    };
    Ok(Response {
        status: match single.cert_status {
            CertStatus::Good(_) => Status::Good,
            CertStatus::Revoked(_) => Status::Revoked,
            CertStatus::Unknown(_) => Status::Unknown,
        },
        from: seconds(single.this_update),
        // Without an end, newer information is always there (RFC 6960 section 4.2.2.1).
        until: single.next_update.map_or(i64::MAX, seconds),
    })
}

/// id-pkix-ocsp-basic, RFC 6960 section 4.2.1.
const BASIC: der::asn1::ObjectIdentifier =
    der::asn1::ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");

/// A serial number without the zeros that only keep it positive.
fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn seconds(time: OcspGeneralizedTime) -> i64 {
    i64::try_from(time.0.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

impl Response {
    /// Whether it holds now and says something good.
    pub(super) fn is_current(&self, now: i64) -> bool {
        self.status == Status::Good && self.from <= now && now < self.until
    }

    /// What its operator should know.
    pub(super) fn oddity(&self, now: i64) -> Option<String> {
        let unused = "it is not stapled";
        match self.status {
            Status::Revoked => return Some(format!("the certificate is revoked; {unused}")),
            Status::Unknown => {
                return Some(format!(
                    "the responder does not know the certificate; {unused}"
                ));
            }
            Status::Good => {}
        }
        if now < self.from {
            Some(format!(
                "the OCSP response is not valid before {}; {unused}",
                date(self.from)
            ))
        } else if self.until <= now {
            Some(format!(
                "the OCSP response expired on {}; {unused}",
                date(self.until)
            ))
        } else if self.until - now < SOON_SECS {
            Some(format!(
                "the OCSP response expires on {}; fetch a new one",
                date(self.until)
            ))
        } else {
            None
        }
    }
}
