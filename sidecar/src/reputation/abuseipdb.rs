//! AbuseIPDB, version 2 of its interface: the endpoint `check` (<https://docs.abuseipdb.com/>).

use std::net::{IpAddr, Ipv4Addr};

use reqwest::{
    Client, RequestBuilder,
    header::{ACCEPT, HeaderValue},
};
use serde::Deserialize;

use super::Report;
use crate::{
    asking::{Failure, json_of, key_of, shown},
    config::{self, ConfigError, ConfigFile},
    http::{Address, Answer},
};

/// The address of its interface, unless the configuration names another.
const CHECK: &str = "https://api.abuseipdb.com/api/v2/check";
/// Days of reports that count, as in the examples of its documentation; it takes 1 to 365.
const MOST_AGE_DAYS: &str = "90";

/// How it is asked.
pub(super) struct AbuseIpDb {
    address: Address,
    key: HeaderValue,
}

#[derive(Deserialize)]
struct Checked {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    ip_address: IpAddr,
    abuse_confidence_score: f64,
    /// `null` where it knows no list.
    is_whitelisted: Option<bool>,
    total_reports: u64,
    #[serde(default)]
    num_distinct_users: u64,
    #[serde(default)]
    is_tor: bool,
}

/// What it answers with instead, from a wrong key to a day that is used up.
#[derive(Deserialize)]
struct Refusal {
    errors: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    detail: String,
}

impl AbuseIpDb {
    pub(super) fn build(
        file: &ConfigFile,
        service: &config::Reputation,
    ) -> Result<Self, ConfigError> {
        // What has no place for a client's address is the same for all.
        let address = match &service.address {
            Some(address) => address.get_ref().of(Ipv4Addr::UNSPECIFIED.into()),
            None => Address::try_from(CHECK.to_owned()),
        };
        let path = service.key_file.as_deref().unwrap_or_default();
        Ok(Self {
            address: address.map_err(ConfigError::Mistakes)?,
            key: key_of(file, "reputation.key_file", path, false)?,
        })
    }

    pub(super) fn request(
        &self,
        client: &Client,
        address: IpAddr,
    ) -> Result<RequestBuilder, Failure> {
        let mut url = self.address.url().clone();
        url.query_pairs_mut()
            .append_pair("ipAddress", &address.to_string())
            .append_pair("maxAgeInDays", MOST_AGE_DAYS);
        Ok(client
            .get(url)
            .header(ACCEPT, "application/json")
            .header("Key", self.key.clone()))
    }

    pub(super) fn read(&self, answer: &Answer, address: IpAddr) -> Result<Report, Failure> {
        let read = json_of(answer).map_err(|failure| explained(failure, &answer.body))?;
        let Checked { data } = serde_json::from_value(read).map_err(|_| {
            Failure::new("an answer of another form than version 2 of AbuseIPDB has")
        })?;
        if data.ip_address != address {
            return Err(Failure::new("an answer about another address"));
        }
        let vouched = data.is_whitelisted.unwrap_or(false);
        let mut details = format!(
            ", {} reports by {} in {MOST_AGE_DAYS} days",
            data.total_reports, data.num_distinct_users
        );
        if vouched {
            details.push_str(", whitelisted");
        }
        if data.is_tor {
            details.push_str(", a Tor exit");
        }
        Ok(Report {
            score: data.abuse_confidence_score,
            vouched,
            details,
        })
    }
}

/// The failure with the reason that the service gives.
fn explained(failure: Failure, body: &[u8]) -> Failure {
    let said = serde_json::from_slice::<Refusal>(body).ok();
    let first = said.and_then(|said| said.errors.into_iter().next());
    match first {
        Some(Detail { detail }) => Failure {
            what: format!("{}: {}", failure.what, shown(&detail)),
            ..failure
        },
        None => failure,
    }
}
