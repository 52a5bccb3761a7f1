//! Reading the cases of a sidecar that runs, by calls to it.

use std::{io, ops::ControlFlow, time::Duration};

use thiserror::Error;
use thornwall_proto::v1::{self, escalation_client::EscalationClient};
use thornwall_settings::token::{Token, TokenError};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::{
    assessment::Explanation,
    config::{self, ConfigError, ConfigFile, Role},
};

/// Cases of a page.
const PAGE: u32 = 500;
/// Longest that one call may take.
const CALL: Duration = Duration::from_secs(30);

/// Error: a running sidecar does not give its cases.
#[derive(Debug, Error)]
pub enum RunningError {
    /// The configuration, or a file that it names, cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The sidecar wants a certificate of its callers.
    #[error(
        "a running sidecar holds the history and serves certificates' owners alone; \
         stop it for the time of the export"
    )]
    Certificates,
    /// No caller has the role `watch`.
    #[error(
        "a running sidecar holds the history, and no [[caller]] has the role `watch`; \
         add one, or stop it for the time of the export"
    )]
    NoWatcher,
    /// No sidecar answers at the address.
    #[error("another process holds the history, and no sidecar answers at {0}: {1}")]
    Silent(String, tonic::transport::Error),
    /// The sidecar refused a call.
    #[error("the running sidecar: {}", .0.message())]
    Refused(#[from] Status),
    /// Threads cannot be had.
    #[error("{0}")]
    Threads(io::Error),
}

/// Shows every case that was assessed since, the newest first. One that is assessed again meanwhile
/// may be missing: it is newer than where the listing is by then.
pub(super) fn each(
    file: &ConfigFile,
    since_ms: u64,
    show: impl FnMut(Explanation) -> ControlFlow<()>,
) -> Result<(), RunningError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunningError::Threads)?;
    runtime.block_on(read(file, since_ms, show))
}

async fn read(
    file: &ConfigFile,
    since_ms: u64,
    mut show: impl FnMut(Explanation) -> ControlFlow<()>,
) -> Result<(), RunningError> {
    let mut caller = Caller {
        client: EscalationClient::new(connect(file).await?),
        token: token(file)?,
    };
    let mut page = String::new();
    loop {
        let listed = caller.list(page).await?;
        for assessment in listed.assessments {
            if assessment.made_ms < since_ms {
                return Ok(());
            }
            let found = caller.explain(assessment.case_id).await?;
            if found.is_some_and(|case| show(case.into()).is_break()) {
                return Ok(());
            }
        }
        if listed.next_page.is_empty() {
            return Ok(());
        }
        page = listed.next_page;
    }
}

struct Caller {
    client: EscalationClient<Channel>,
    token: MetadataValue<Ascii>,
}

impl Caller {
    async fn list(&mut self, page: String) -> Result<v1::ListResponse, Status> {
        let request = self.named(v1::ListRequest {
            page,
            page_size: PAGE,
            ..v1::ListRequest::default()
        });
        Ok(self.client.list(request).await?.into_inner())
    }

    /// A case, unless it was forgotten meanwhile.
    async fn explain(&mut self, case_id: String) -> Result<Option<v1::Explanation>, Status> {
        let request = self.named(v1::ExplainRequest { case_id });
        match self.client.explain(request).await {
            Ok(found) => Ok(Some(found.into_inner())),
            Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    fn named<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.token.clone());
        request
    }
}

async fn connect(file: &ConfigFile) -> Result<Channel, RunningError> {
    let server = &file.config.server;
    if server.tls.is_some() {
        return Err(RunningError::Certificates);
    }
    let address = match config::Endpoint::parse(server.address.get_ref(), false) {
        Ok(config::Endpoint::Tcp(address)) => format!("http://{address}"),
        Ok(config::Endpoint::Unix(path)) => {
            format!("unix:{}", file.resolve(&path.to_string_lossy()).display())
        }
        Err(what) => return Err(ConfigError::Mistakes(what).into()),
    };
    let endpoint = Endpoint::from_shared(address.clone());
    let endpoint = endpoint.map_err(|error| RunningError::Silent(address.clone(), error))?;
    let connected = endpoint.timeout(CALL).connect_timeout(CALL).connect().await;
    connected.map_err(|error| RunningError::Silent(address, error))
}

/// The token of a caller who may look.
fn token(file: &ConfigFile) -> Result<MetadataValue<Ascii>, RunningError> {
    let callers = &file.config.caller;
    let may_look = callers
        .iter()
        .find(|caller| caller.roles.contains(&Role::Watch));
    let path = match may_look {
        Some(caller) => file.resolve(&caller.token_file),
        None if callers.is_empty() => file
            .resolve(&file.config.server.data_dir)
            .join("sidecar.token"),
        None => {
            return Err(RunningError::NoWatcher);
        }
    };
    let token = Token::read(&path)?;
    let what = "expected a token of ASCII".to_owned();
    let wrong = |_| ConfigError::File(path.clone(), what);
    let mut value = MetadataValue::try_from(token.bearer()).map_err(wrong)?;
    value.set_sensitive(true);
    Ok(value)
}
