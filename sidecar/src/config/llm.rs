//! `[llm]`: which language models are asked, and what that may cost.

use std::{ops::Range, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error};
use toml::Spanned;

use crate::http::Address;

/// `[llm]`. Without a provider no model is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Llm {
    /// The weight of a verdict that is quite certain.
    pub most_weight: f32,
    /// For how long a verdict holds for cases that look the same.
    pub remember_secs: u32,
    /// Share of verdicts that a second provider is asked about too, 0 to 1.
    pub second_opinion: f32,
    /// Prompts of at most this many bytes go to a local provider first.
    pub short_bytes: usize,
    /// Sites whose cases go to local providers alone.
    pub private_sites: Vec<String>,
    /// `[llm.budget]`.
    pub budget: Budget,
    /// `[[llm.provider]]`.
    pub provider: Vec<Spanned<Provider>>,
}

impl Default for Llm {
    fn default() -> Self {
        Self {
            most_weight: 0.85,
            remember_secs: 86_400,
            second_opinion: 0.02,
            short_bytes: 1_500,
            private_sites: Vec::new(),
            budget: Budget::default(),
            provider: Vec::new(),
        }
    }
}

/// What may be spent within any 60 minutes, and within any 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Tokens, of prompts and answers together.
    pub tokens_per_hour: u64,
    /// Tokens.
    pub tokens_per_day: u64,
    /// Money, in the currency that prices are written in.
    pub money_per_hour: f64,
    /// Money.
    pub money_per_day: f64,
    /// Sidecars that this budget is divided among.
    pub sidecars: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            tokens_per_hour: 200_000,
            tokens_per_day: 1_000_000,
            money_per_hour: 0.50,
            money_per_day: 2.0,
            sidecars: 1,
        }
    }
}

/// `[[llm.provider]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The provider's name in metrics and evidence.
    pub name: String,
    /// Whose model: `openai://gpt-4o-mini`, `ollama://llama3.2`; or a tool, `mcp://classify`.
    pub uri: Uri,
    /// Where its API begins, if not at the vendor's own address.
    pub endpoint: Option<Address>,
    /// File with the provider's key.
    pub key_file: Option<String>,
    /// Whether cases that may not leave this network may go to it.
    #[serde(default)]
    pub local: bool,
    /// Price of a million tokens of prompts.
    #[serde(default)]
    pub input_price: f64,
    /// Price of a million tokens of answers.
    #[serde(default)]
    pub output_price: f64,
    /// Longest wait for an answer.
    #[serde(default = "timeout_secs")]
    pub timeout_secs: u32,
    /// Further tries where the provider is busy or not reached.
    #[serde(default = "retries")]
    pub retries: u32,
    /// Questions at a time.
    #[serde(default = "concurrency")]
    pub concurrency: usize,
    /// Longest answer, in tokens.
    #[serde(default = "max_output_tokens")]
    pub max_output_tokens: u32,
}

const fn timeout_secs() -> u32 {
    20
}

const fn retries() -> u32 {
    1
}

const fn concurrency() -> usize {
    4
}

const fn max_output_tokens() -> u32 {
    200
}

/// Vendor of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// Also every address that speaks as OpenAI does: llama.cpp, vLLM, a local proxy.
    OpenAi,
    /// Claude.
    Anthropic,
    /// Google's.
    Gemini,
    /// Command.
    Cohere,
    /// Mistral's.
    Mistral,
    /// A server of one's own.
    Ollama,
    /// A tool of a server that speaks the Model Context Protocol.
    Mcp,
}

/// A vendor, and a model of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    /// The vendor.
    pub vendor: Vendor,
    /// The vendor's name of the model.
    pub model: String,
}

impl FromStr for Uri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected VENDOR://MODEL, with openai, anthropic, gemini, cohere, mistral, \
                        ollama or mcp";
        let (vendor, model) = text.split_once("://").ok_or(expected)?;
        let vendor = match vendor {
            "openai" => Vendor::OpenAi,
            "anthropic" => Vendor::Anthropic,
            "gemini" => Vendor::Gemini,
            "cohere" => Vendor::Cohere,
            "mistral" => Vendor::Mistral,
            "ollama" => Vendor::Ollama,
            "mcp" => Vendor::Mcp,
            _ => return Err(expected.to_owned()),
        };
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@".contains(&byte);
        if model.is_empty() || !model.bytes().all(fits) {
            // Not repeated: a key may have been put there.
            return Err("the model's name has characters that none has".to_owned());
        }
        Ok(Self {
            vendor,
            model: model.to_owned(),
        })
    }
}

impl<'de> Deserialize<'de> for Uri {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl Llm {
    /// What is wrong beyond the form, and where.
    pub(super) fn complaints(&self) -> Vec<(Option<Range<usize>>, String)> {
        let mut found = Vec::new();
        let share = |number: f32| (0.0..=1.0).contains(&number);
        if !share(self.most_weight) || !share(self.second_opinion) {
            let what = "expected `most_weight` and `second_opinion` from 0 to 1";
            found.push((None, what.to_owned()));
        }
        if let Some(what) = self.budget.complaint() {
            found.push((None, what.to_owned()));
        }
        let mut names = Vec::new();
        for provider in &self.provider {
            let written = provider.get_ref();
            if let Some(what) = written.complaint(&names) {
                found.push((Some(provider.span()), what));
            }
            names.push(written.name.as_str());
        }
        let local = self.provider.iter().any(|one| one.get_ref().local);
        if !self.private_sites.is_empty() && !self.provider.is_empty() && !local {
            let what = "`private_sites` has no provider with `local = true` to go to";
            found.push((None, what.to_owned()));
        }
        found
    }
}

impl Budget {
    fn complaint(&self) -> Option<&'static str> {
        let money = [self.money_per_hour, self.money_per_day];
        let good = money.iter().all(|sum| (0.0..=1e9).contains(sum)) && self.sidecars > 0;
        (!good).then_some("expected a budget of 0 or more, divided among 1 or more `sidecars`")
    }
}

impl Provider {
    fn complaint(&self, earlier: &[&str]) -> Option<String> {
        let label = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let named = (1..=64).contains(&self.name.len()) && self.name.bytes().all(label);
        if !named || earlier.contains(&self.name.as_str()) {
            return Some(format!(
                "`name` is {:?}; expected one of its own of letters, digits, `-`, `_`, `.`",
                self.name
            ));
        }
        let prices = [self.input_price, self.output_price];
        if !prices.iter().all(|price| (0.0..=1e6).contains(price)) {
            return Some("expected prices of 0 or more for a million tokens".to_owned());
        }
        if !self.local && prices.contains(&0.0) {
            return Some(
                "expected `input_price` and `output_price`, as no budget holds without; or `local = true`"
                    .to_owned(),
            );
        }
        let bounds = (1..=300).contains(&self.timeout_secs)
            && self.retries <= 5
            && (1..=256).contains(&self.concurrency)
            && (16..=8_192).contains(&self.max_output_tokens);
        if !bounds {
            return Some(
                "expected `timeout_secs` 1 to 300, `retries` 0 to 5, `concurrency` 1 to 256, \
                 `max_output_tokens` 16 to 8192"
                    .to_owned(),
            );
        }
        if self.uri.vendor == Vendor::Mcp && self.endpoint.is_none() {
            return Some(format!(
                "`{}` is a tool; expected the server's `endpoint`",
                self.name
            ));
        }
        let needs_key = self.uri.vendor != Vendor::Ollama && self.endpoint.is_none();
        (needs_key && self.key_file.is_none())
            .then(|| format!("`{}` needs a key; expected `key_file`", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_named_by_uri() {
        let check = |text: &str, expected: Option<(Vendor, &str)>| {
            let found = text.parse::<Uri>().ok();
            let found = found.as_ref().map(|uri| (uri.vendor, uri.model.as_str()));
            assert_eq!(found, expected, "{text}");
        };
        check(
            "openai://gpt-4o-mini",
            Some((Vendor::OpenAi, "gpt-4o-mini")),
        );
        check(
            "mistral://open-mistral-7b",
            Some((Vendor::Mistral, "open-mistral-7b")),
        );
        check(
            "ollama://llama3.2:1b",
            Some((Vendor::Ollama, "llama3.2:1b")),
        );
        check("openai://org/model", Some((Vendor::OpenAi, "org/model")));
        check("openai://", None);
        check("openai:gpt", None);
        check("mcp://classify", Some((Vendor::Mcp, "classify")));
        check("other://x", None);
        check("openai://a b", None);
    }

    fn complaints(text: &str) -> Vec<String> {
        let llm: Llm = toml::from_str(text).unwrap();
        llm.complaints().into_iter().map(|(_, what)| what).collect()
    }

    #[test]
    fn what_no_budget_could_hold_is_refused() {
        let cloud = "[[provider]]\nname = 'a'\nuri = 'openai://x'\nkey_file = 'k'\n";
        assert!(complaints(cloud)[0].contains("input_price"));
        let priced = format!("{cloud}input_price = 0.1\noutput_price = 0.4\n");
        assert!(complaints(&priced).is_empty());
        assert!(complaints(&format!("{priced}{priced}"))[0].contains("`name`"));
        let local = "[[provider]]\nname = 'a'\nuri = 'ollama://x'\nlocal = true\n";
        assert!(complaints(local).is_empty());
        let keyless = cloud.replace("key_file = 'k'\n", "local = true\n");
        assert!(complaints(&keyless)[0].contains("key_file"));
        let private = format!("private_sites = ['shop']\n{priced}");
        assert!(complaints(&private)[0].contains("private_sites"));
    }

    #[test]
    fn the_shipped_example_shows_every_key_at_its_default() {
        let shipped = include_str!("../../../etc/sidecar.toml");
        let (_, example) = shipped.split_once("# [llm]").unwrap();
        let lines = example.lines().skip(1);
        let lines = lines.map_while(|line| line.strip_prefix("# "));
        let example: String = lines
            .map(|line| line.replace("[llm.", "[") + "\n")
            .collect();
        let example = example.replace("[[llm.provider]]", "[[provider]]");
        let shown: Llm = toml::from_str(&example).unwrap();
        assert_eq!(shown.complaints(), []);
        let default = Llm::default();
        assert_eq!(shown.budget, default.budget);
        let (shown, default) = (
            Llm {
                provider: Vec::new(),
                ..shown
            },
            Llm {
                provider: Vec::new(),
                ..default
            },
        );
        assert_eq!(format!("{shown:?}"), format!("{default:?}"));
        for table in ["", "[budget]\n", "[[provider]]\n"] {
            let error = toml::from_str::<Llm>(&format!("{table}bogus = 1")).unwrap_err();
            for key in error.to_string().split('`').skip(3).step_by(2) {
                let is_shown = example.contains(&format!("{key} = "));
                assert!(is_shown || example.contains(&format!("[{key}]")), "{key}");
            }
        }
        let few = "name = 'a'\nuri = 'ollama://x'\nlocal = true";
        let few: Provider = toml::from_str(few).unwrap();
        let full: toml::Table = example.parse().unwrap();
        let full = full["provider"][0].as_table().unwrap();
        for (key, value) in [
            ("timeout_secs", i64::from(few.timeout_secs)),
            ("retries", i64::from(few.retries)),
            ("concurrency", i64::try_from(few.concurrency).unwrap()),
            ("max_output_tokens", i64::from(few.max_output_tokens)),
        ] {
            assert_eq!(full[key].as_integer(), Some(value), "{key}");
        }
    }
}
