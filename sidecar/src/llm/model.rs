//! A vendor's language model: its call and its answer, in the shape that the vendor documents.
//!
//! An answer is read up to a bound and not decompressed, so that a server that poses as a model costs
//! neither memory nor more time than it has.

use reqwest::{
    Client, RequestBuilder, Response, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde_json::{Value, json};

use super::{
    prompt::{INSTRUCTIONS, Prompt},
    provider::AskError,
    verdict,
};
use crate::config::{LlmProvider, Vendor};

/// Longest answer, with all that a vendor puts around the text.
const MOST_BYTES: usize = 256 << 10;
/// The version of Anthropic's interface that is spoken.
const ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");
/// OpenAI's families of models that know the bound of an answer by another name.
const COUNTS_COMPLETION: [&str; 5] = ["gpt-5", "gpt-6", "o1", "o3", "o4"];

/// Error text of an answer that is not JSON.
const NOT_JSON: &str = "an answer that is not JSON";

/// A model, and how it is reached.
pub(super) struct Model {
    web: Client,
    vendor: Vendor,
    name: String,
    url: Url,
    headers: HeaderMap,
    max_tokens: u32,
}

/// A model's answer, and the tokens that it reports.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
}

impl Model {
    /// The model that is configured; nothing for what is none.
    pub(super) fn new(
        web: Client,
        config: &LlmProvider,
        key: Option<&str>,
    ) -> Option<Result<Self, String>> {
        let (vendor, name) = (config.uri.vendor, config.uri.model.clone());
        let base = match &config.endpoint {
            Some(endpoint) => endpoint.url().clone(),
            None => Url::parse(default_base(vendor)?).ok()?,
        };
        let url = match vendor {
            Vendor::OpenAi | Vendor::Mistral => below(base, "chat/completions"),
            Vendor::Anthropic => below(base, "messages"),
            Vendor::Gemini => below(base, &format!("models/{name}:generateContent")),
            Vendor::Cohere => below(base, "chat"),
            Vendor::Ollama => below(base, "api/chat"),
            Vendor::Mcp => return None,
        };
        let headers = match headers(vendor, key) {
            Ok(headers) => headers,
            Err(what) => return Some(Err(what.to_owned())),
        };
        Some(Ok(Self {
            web,
            vendor,
            name,
            url,
            headers,
            max_tokens: config.max_output_tokens,
        }))
    }

    pub(super) async fn call(&self, prompt: &Prompt) -> Result<Reply, AskError> {
        let request = self
            .web
            .post(self.url.clone())
            .headers(self.headers.clone());
        let answer = exchange(request.json(&self.question(&prompt.text))).await?;
        Ok(self.reply(&answer))
    }

    fn question(&self, record: &str) -> Value {
        let (name, max_tokens, schema) = (&self.name, self.max_tokens, verdict::schema());
        let user = json!({"role": "user", "content": record});
        let messages = json!([{"role": "system", "content": INSTRUCTIONS}, user]);
        match self.vendor {
            Vendor::OpenAi | Vendor::Mistral => {
                let format = json!({"name": "verdict", "strict": true, "schema": schema});
                let mut question = json!({
                    "model": name,
                    "stream": false,
                    "messages": messages,
                    "response_format": {"type": "json_schema", "json_schema": format},
                });
                let mut families = COUNTS_COMPLETION.iter();
                let bound = match families.any(|family| name.starts_with(family)) {
                    true => "max_completion_tokens",
                    false => "max_tokens",
                };
                question[bound] = max_tokens.into();
                question
            }
            Vendor::Anthropic => json!({
                "model": name,
                "stream": false,
                "system": INSTRUCTIONS,
                "messages": [user],
                "output_config": {"format": {"type": "json_schema", "schema": schema}},
                "max_tokens": max_tokens,
            }),
            Vendor::Gemini => json!({
                "systemInstruction": {"parts": [{"text": INSTRUCTIONS}]},
                "contents": [{"role": "user", "parts": [{"text": record}]}],
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseJsonSchema": schema,
                    "maxOutputTokens": max_tokens,
                },
            }),
            Vendor::Cohere => json!({
                "model": name,
                "stream": false,
                "preamble": INSTRUCTIONS,
                "message": record,
                "max_tokens": max_tokens,
            }),
            Vendor::Ollama | Vendor::Mcp => json!({
                "model": name,
                "stream": false,
                "messages": messages,
                "options": {"num_predict": max_tokens},
            }),
        }
    }

    /// The reply in an answer; empty where the answer has another form.
    fn reply(&self, answer: &Value) -> Reply {
        let count = |place: &str| answer.pointer(place).and_then(Value::as_u64);
        // Those that a vendor counts beside the others, if it does.
        let both = |place: &str, beside: &[&str]| {
            let beside = beside.iter().filter_map(|place| count(place));
            count(place).map(|first| beside.fold(first, u64::saturating_add))
        };
        let (text, input, output) = match self.vendor {
            Vendor::OpenAi | Vendor::Mistral => (
                answer.pointer("/choices/0/message/content"),
                count("/usage/prompt_tokens"),
                count("/usage/completion_tokens"),
            ),
            Vendor::Anthropic => (
                answer.get("content"),
                both(
                    "/usage/input_tokens",
                    &[
                        "/usage/cache_creation_input_tokens",
                        "/usage/cache_read_input_tokens",
                    ],
                ),
                count("/usage/output_tokens"),
            ),
            Vendor::Gemini => (
                answer.pointer("/candidates/0/content/parts"),
                both(
                    "/usageMetadata/promptTokenCount",
                    &["/usageMetadata/toolUsePromptTokenCount"],
                ),
                both(
                    "/usageMetadata/candidatesTokenCount",
                    &["/usageMetadata/thoughtsTokenCount"],
                ),
            ),
            Vendor::Cohere => (
                answer.get("text"),
                count("/meta/tokens/input_tokens"),
                count("/meta/tokens/output_tokens"),
            ),
            Vendor::Ollama | Vendor::Mcp => (
                answer.pointer("/message/content"),
                count("/prompt_eval_count"),
                count("/eval_count"),
            ),
        };
        Reply {
            text: text.and_then(first_text).unwrap_or_default().to_owned(),
            input,
            output,
        }
    }
}

/// A text, or the first one of several parts that is no thought.
fn first_text(content: &Value) -> Option<&str> {
    let Some(parts) = content.as_array() else {
        return content.as_str();
    };
    let mut said = parts
        .iter()
        .filter(|part| part.get("thought") != Some(&Value::Bool(true)));
    said.find_map(|part| part.get("text")?.as_str())
}

fn headers(vendor: Vendor, key: Option<&str>) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::new();
    if vendor == Vendor::Anthropic {
        headers.insert("anthropic-version", ANTHROPIC_VERSION);
    }
    // A server of one's own may want none.
    let Some(key) = key else {
        return Ok(headers);
    };
    let (name, value) = match vendor {
        Vendor::Anthropic => ("x-api-key", key.to_owned()),
        Vendor::Gemini => ("x-goog-api-key", key.to_owned()),
        _ => ("authorization", format!("Bearer {key}")),
    };
    let value = HeaderValue::from_str(&value);
    let mut value = value.map_err(|_| "a key that no header can carry")?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(headers)
}

/// Where a vendor is reached; a server of tools is nowhere by default.
const fn default_base(vendor: Vendor) -> Option<&'static str> {
    Some(match vendor {
        Vendor::OpenAi => "https://api.openai.com/v1/",
        Vendor::Anthropic => "https://api.anthropic.com/v1/",
        Vendor::Gemini => "https://generativelanguage.googleapis.com/v1beta/",
        Vendor::Cohere => "https://api.cohere.com/v1/",
        Vendor::Mistral => "https://api.mistral.ai/v1/",
        Vendor::Ollama => "http://localhost:11434/",
        Vendor::Mcp => return None,
    })
}

/// Where a call is found. What an endpoint asks for in its query stays there.
fn below(mut base: Url, call: &str) -> Url {
    let path = format!("{}/{call}", base.path().trim_end_matches('/'));
    base.set_path(&path);
    base
}

/// The answer's JSON. Errors never quote the answer, which may contain anything.
async fn exchange(request: RequestBuilder) -> Result<Value, AskError> {
    let mut response = request.send().await.map_err(described)?;
    if !response.status().is_success() {
        return Err(AskError::Status(response.status()));
    }
    if !is_json(&response) {
        return Err(AskError::Failed(NOT_JSON));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(described)? {
        if body.len() + chunk.len() > MOST_BYTES {
            return Err(AskError::Failed("an answer longer than any verdict"));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|_| AskError::Failed(NOT_JSON))
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

fn described(error: reqwest::Error) -> AskError {
    if error.is_connect() {
        AskError::Unreached
    } else if error.is_timeout() {
        AskError::Timeout
    } else {
        AskError::Failed("broken off")
    }
}
