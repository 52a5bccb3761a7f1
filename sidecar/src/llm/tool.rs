//! A tool of a server that speaks the Model Context Protocol, as a provider.
//!
//! The tool is called over streamable HTTP (MCP 2025-03-26, section "Transports") with the texts
//! `instructions` and `record` and the answer's `schema`, and answers as a model does: as its first text,
//! or as its structured content. Each question has a session of its own, so that none learns of another.

use reqwest::Client;
use rmcp::{
    ServiceExt,
    model::{CallToolRequestParams, CallToolResult, JsonObject},
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::Value;

use super::{
    prompt::{INSTRUCTIONS, Prompt},
    provider::AskError,
    verdict,
};
use crate::http::Address;

/// Longest answer of a server, of its list of abilities for instance.
const MOST_BYTES: usize = 64 << 10;

/// A tool of a server.
pub(super) struct Tool {
    web: Client,
    server: StreamableHttpClientTransportConfig,
    name: String,
}

impl Tool {
    pub(super) fn new(web: Client, server: &Address, name: &str, key: Option<String>) -> Self {
        let server = StreamableHttpClientTransportConfig::with_uri(server.url().as_str())
            .max_json_response_size(MOST_BYTES)
            .max_error_response_size(MOST_BYTES)
            .max_sse_event_size(MOST_BYTES);
        Self {
            web,
            server: match key {
                Some(key) => server.auth_header(key),
                None => server,
            },
            name: name.to_owned(),
        }
    }

    pub(super) async fn call(&self, prompt: &Prompt) -> Result<String, AskError> {
        let server = self.server.clone();
        let transport = StreamableHttpClientTransport::with_client(self.web.clone(), server);
        let session = ().serve(transport).await;
        let session = session.map_err(|_| AskError::Failed("no server of tools"))?;
        let mut arguments = JsonObject::new();
        arguments.insert("instructions".to_owned(), Value::from(INSTRUCTIONS));
        arguments.insert("record".to_owned(), Value::from(prompt.text.as_str()));
        arguments.insert("schema".to_owned(), verdict::schema());
        let call = CallToolRequestParams::new(self.name.clone()).with_arguments(arguments);
        let called = session.call_tool(call).await;
        // What came is here; a server that does not end the session ends it by itself later.
        let _ = session.cancel().await;
        answer(called.map_err(|_| AskError::Failed("the tool cannot be called"))?)
    }
}

fn answer(result: CallToolResult) -> Result<String, AskError> {
    if result.is_error == Some(true) {
        return Err(AskError::Failed("the tool failed"));
    }
    // Servers wrap structured content in names of their own, and send the text of it besides.
    let mut texts = result.content.iter().filter_map(|block| block.as_text());
    let structured = || result.structured_content.map(|value| value.to_string());
    let text = texts.next().map(|text| text.text.clone());
    Ok(text.or_else(structured).unwrap_or_default())
}
