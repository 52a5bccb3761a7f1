//! Asking the running gateway, through its operator's listener.

use std::{path::Path, time::Duration};

use http::Response;
use serde::{Serialize, de::DeserializeOwned};

use thornwall_settings::token::Token;

use crate::generation::Cold;
use thornwall_settings::file::ConfigFile;

/// Longest wait for the gateway.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer: a page of the longest decisions.
const MOST_BYTES: u64 = 16 << 20;

/// The gateway did as asked, or refused: 1. Nothing could be asked: 2.
pub(super) type Failure = (String, u8);

/// The running gateway of a configuration.
pub(super) struct Client {
    agent: ureq::Agent,
    address: String,
    token: Token,
}

impl Client {
    /// The gateway that runs with this configuration.
    pub(super) fn of(config: &Path) -> Result<Self, Failure> {
        let file = ConfigFile::read(config).map_err(|problem| unusable(problem.to_string()))?;
        let cold = Cold::read(&file).map_err(unusable)?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        Ok(Self {
            agent: agent.into(),
            address: cold.admin,
            token: Token::read(&cold.token_file).map_err(|error| unusable(error.to_string()))?,
        })
    }

    /// Asks for something.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let request = self.agent.get(self.url(path));
        self.read(request.header("authorization", self.token.bearer()).call())
    }

    /// Has something made.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let request = self.agent.post(self.url(path));
        let request = request.header("authorization", self.token.bearer());
        self.read(request.send_json(body))
    }

    /// Has something taken away.
    pub(super) fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let request = self.agent.delete(self.url(path)).force_send_body();
        let request = request.header("authorization", self.token.bearer());
        self.read(request.send_json(body))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn read<T: DeserializeOwned>(
        &self,
        answer: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, Failure> {
        let mut answer = answer.map_err(|error| {
            let address = &self.address;
            unusable(format!(
                "the gateway at {address} does not answer: {error}; is it running?"
            ))
        })?;
        let body = answer.body_mut().with_config().limit(MOST_BYTES);
        let body = body
            .read_to_string()
            .map_err(|error| unusable(error.to_string()))?;
        if !answer.status().is_success() {
            return Err((refusal(&body), 1));
        }
        serde_json::from_str(&body)
            .map_err(|error| unusable(format!("the gateway's answer cannot be read: {error}")))
    }
}

const fn unusable(message: String) -> Failure {
    (message, 2)
}

fn refusal(body: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let message = parsed
        .as_ref()
        .and_then(|value| value.get("error")?.as_str());
    match message {
        Some(message) => message.to_owned(),
        None if body.is_empty() => "the gateway refused".to_owned(),
        None => body.chars().take(500).collect(),
    }
}
