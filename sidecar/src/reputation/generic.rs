//! Any service that answers a GET with JSON in which a number stands somewhere.

use std::net::IpAddr;

use reqwest::{
    Client, RequestBuilder,
    header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue},
};

use super::Report;
use crate::{
    asking::{Failure, json_of, key_of},
    config::{self, ConfigError, ConfigFile, Template},
    http::Answer,
};

/// How it is asked.
pub(super) struct Generic {
    address: Template,
    key: Option<(HeaderName, HeaderValue)>,
    score: String,
}

impl Generic {
    pub(super) fn build(
        file: &ConfigFile,
        service: &config::Reputation,
    ) -> Result<Self, ConfigError> {
        let address = service.address.as_ref();
        let address = address.ok_or_else(|| mistake("`reputation.address` is missing"))?;
        let score = service.score.as_ref().map(|score| score.get_ref().clone());
        Ok(Self {
            address: address.get_ref().clone(),
            key: key(file, service)?,
            score: score.unwrap_or_default(),
        })
    }

    pub(super) fn request(
        &self,
        client: &Client,
        address: IpAddr,
    ) -> Result<RequestBuilder, Failure> {
        let url = self.address.of(address).map_err(Failure::new)?;
        let request = client
            .get(url.url().clone())
            .header(ACCEPT, "application/json");
        Ok(match &self.key {
            Some((name, value)) => request.header(name, value.clone()),
            None => request,
        })
    }

    pub(super) fn read(&self, answer: &Answer) -> Result<Report, Failure> {
        let read = json_of(answer)?;
        let score = read
            .pointer(&self.score)
            .and_then(serde_json::Value::as_f64);
        Ok(Report {
            score: score.ok_or_else(|| Failure::new("an answer without the number"))?,
            vouched: false,
            details: String::new(),
        })
    }
}

fn key(
    file: &ConfigFile,
    service: &config::Reputation,
) -> Result<Option<(HeaderName, HeaderValue)>, ConfigError> {
    let Some(path) = &service.key_file else {
        return Ok(None);
    };
    let header = match &service.key_header {
        Some(header) => HeaderName::try_from(header.get_ref())
            .map_err(|_| mistake("`reputation.key_header`: expected the name of a header field"))?,
        None => AUTHORIZATION,
    };
    let value = key_of(file, "reputation.key_file", path, header == AUTHORIZATION)?;
    Ok(Some((header, value)))
}

fn mistake(what: &str) -> ConfigError {
    ConfigError::Mistakes(what.to_owned())
}
