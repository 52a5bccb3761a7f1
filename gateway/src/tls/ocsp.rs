//! OCSP responses (RFC 6960) that are stapled: read for their dates and for whom they are about.
//! Their signature is the client's to check.

use der::Decode;
use thiserror::Error;
use x509_ocsp::{BasicOcspResponse, CertStatus, OcspGeneralizedTime, OcspResponse};

use super::certificate::date;

/// A response that ends sooner deserves a warning: responders renew theirs days before.
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
    /// A type of response that is not in use.
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

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use der::{
        Encode,
        asn1::{BitString, GeneralizedTime, Null, ObjectIdentifier, OctetString},
    };
    use x509_ocsp::{
        BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse,
        OcspResponseStatus, ResponderId, ResponseBytes, ResponseData, SingleResponse, Version,
    };

    use super::{BASIC, OcspError, read};

    /// A response without a signature worth the name, about a certificate of the tests' authority.
    pub(in crate::tls) fn response(
        serial: u32,
        status: CertStatus,
        from: u64,
        until: Option<u64>,
    ) -> Vec<u8> {
        let time = |seconds: u64| {
            let since_1970 = Duration::from_secs(seconds);
            OcspGeneralizedTime(GeneralizedTime::from_unix_duration(since_1970).unwrap())
        };
        let hash = OctetString::new([7; 20]).unwrap();
        let algorithm = || spki(ObjectIdentifier::new_unwrap("1.3.14.3.2.26"));
        let single = SingleResponse {
            cert_id: CertId {
                hash_algorithm: algorithm(),
                issuer_name_hash: hash.clone(),
                issuer_key_hash: hash.clone(),
                serial_number: serial.into(),
            },
            cert_status: status,
            this_update: time(from),
            next_update: until.map(time),
            single_extensions: None,
        };
        let basic = BasicOcspResponse {
            tbs_response_data: ResponseData {
                version: Version::V1,
                responder_id: ResponderId::ByKey(hash),
                produced_at: time(from),
                responses: vec![single],
                response_extensions: None,
            },
            signature_algorithm: algorithm(),
            signature: BitString::from_bytes(&[0]).unwrap(),
            certs: None,
        };
        let whole = OcspResponse {
            response_status: OcspResponseStatus::Successful,
            response_bytes: Some(ResponseBytes {
                response_type: BASIC,
                response: OctetString::new(basic.to_der().unwrap()).unwrap(),
            }),
        };
        whole.to_der().unwrap()
    }

    fn spki<T: der::Decode<'static>>(oid: ObjectIdentifier) -> T {
        // A SEQUENCE of the identifier and NULL, which is what an AlgorithmIdentifier is.
        let mut inside = oid.to_der().unwrap();
        inside.extend(Null.to_der().unwrap());
        let mut whole = vec![0x30, u8::try_from(inside.len()).unwrap()];
        whole.extend(inside);
        T::from_der(Box::leak(whole.into_boxed_slice())).unwrap()
    }

    #[test]
    fn responses_hold_for_their_time_alone() {
        let check = |status, now: i64, current: bool, oddity: &str| {
            let der = response(0x42_00_01, status, 1000, Some(1_000_000));
            let read = read(&der, &[0x42, 0, 1]).unwrap();
            assert_eq!(read.is_current(now), current, "{read:?} at {now}");
            let told = read.oddity(now).unwrap_or_default();
            assert!(
                told.contains(oddity) && told.is_empty() == oddity.is_empty(),
                "{told}"
            );
        };
        check(CertStatus::good(), 5000, true, "");
        check(
            CertStatus::good(),
            999,
            false,
            "not valid before 1970-01-01T00:16:40Z",
        );
        check(
            CertStatus::good(),
            990_000,
            true,
            "expires on 1970-01-12T13:46:40Z",
        );
        check(
            CertStatus::good(),
            1_000_000,
            false,
            "expired on 1970-01-12T13:46:40Z",
        );
        check(CertStatus::unknown(), 5000, false, "does not know");
        let revoked = x509_ocsp::RevokedInfo {
            revocation_time: OcspGeneralizedTime(
                GeneralizedTime::from_unix_duration(Duration::ZERO).unwrap(),
            ),
            revocation_reason: None,
        };
        check(CertStatus::revoked(revoked), 5000, false, "revoked");
    }

    #[test]
    fn what_is_no_response_about_the_certificate_is_told() {
        let der = response(0x42_00_01, CertStatus::good(), 1000, None);
        assert_eq!(read(&der, &[0x42, 0, 1]).unwrap().until, i64::MAX);
        assert_eq!(
            read(&der, &[0x42, 0, 2]),
            Err(OcspError::Other("420002".to_owned()))
        );
        for end in 0..der.len() {
            assert!(read(&der[..end], &[0x42, 0, 1]).is_err(), "{end} bytes");
        }
        let refusal = OcspResponse::try_later().to_der().unwrap();
        let told = read(&refusal, &[1]).unwrap_err().to_string();
        assert!(told.contains("TryLater"), "{told}");
    }
}
