//! Reading the cases of a sidecar that runs, by calls to it.

use std::{ops::ControlFlow, time::Duration};

use thornwall_proto::v1::{self, escalation_client::EscalationClient};
use thornwall_settings::token::Token;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::{
    assessment::Explanation,
    config::{self, ConfigFile, Role},
};

/// Cases of a page.
const PAGE: u32 = 500;
/// Longest that one call may take.
const CALL: Duration = Duration::from_secs(30);

/// Shows every case that was assessed since, the newest first. One that is assessed again meanwhile
/// may be missing: it is newer than where the listing is by then.
pub(super) fn each(
    file: &ConfigFile,
    since_ms: u64,
    show: impl FnMut(Explanation) -> ControlFlow<()>,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(read(file, since_ms, show))
}

async fn read(
    file: &ConfigFile,
    since_ms: u64,
    mut show: impl FnMut(Explanation) -> ControlFlow<()>,
) -> Result<(), String> {
    let failed = |status: Status| format!("the running sidecar: {}", status.message());
    let mut caller = Caller {
        client: EscalationClient::new(connect(file).await?),
        token: token(file)?,
    };
    let mut page = String::new();
    loop {
        let listed = caller.list(page).await.map_err(failed)?;
        for assessment in listed.assessments {
            if assessment.made_ms < since_ms {
                return Ok(());
            }
            let found = caller.explain(assessment.case_id).await.map_err(failed)?;
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

async fn connect(file: &ConfigFile) -> Result<Channel, String> {
    let server = &file.config.server;
    if server.tls.is_some() {
        return Err(
            "a running sidecar holds the history and serves certificates' owners alone; \
             stop it for the time of the export"
                .to_owned(),
        );
    }
    let address = match config::Endpoint::parse(server.address.get_ref(), false)? {
        config::Endpoint::Tcp(address) => format!("http://{address}"),
        config::Endpoint::Unix(path) => {
            format!("unix:{}", file.resolve(&path.to_string_lossy()).display())
        }
    };
    let endpoint = Endpoint::from_shared(address.clone()).map_err(|error| error.to_string())?;
    let connected = endpoint.timeout(CALL).connect_timeout(CALL).connect().await;
    connected.map_err(|error| {
        format!("another process holds the history, and no sidecar answers at {address}: {error}")
    })
}

/// The token of a caller who may look.
fn token(file: &ConfigFile) -> Result<MetadataValue<Ascii>, String> {
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
            return Err(
                "a running sidecar holds the history, and no [[caller]] has the role `watch`; \
                 add one, or stop it for the time of the export"
                    .to_owned(),
            );
        }
    };
    let token = Token::read(&path).map_err(|error| error.to_string())?;
    let wrong = |_| format!("{}: expected a token of ASCII", path.display());
    let mut value = MetadataValue::try_from(token.bearer()).map_err(wrong)?;
    value.set_sensitive(true);
    Ok(value)
}
