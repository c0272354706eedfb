//! Models: `[[model]]` in order of preference, or the one that the environment implies.
//!
//! A price is written as text, so that no binary fraction stands between the provider's list and the account. One that
//! is not written is unknown, which is not the same as nothing.

use serde::Deserialize;
use url::Url;

use super::Secret;
use super::file::Reader;
use crate::domain::{Money, Prices};

/// How a model is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// `{base}/chat/completions`.
    Openai,
    /// `{base}/messages`.
    Anthropic,
    /// The offline stand-in, which says that it is one.
    Scripted,
}

impl Protocol {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::Scripted => "scripted",
        }
    }
}

impl std::str::FromStr for Protocol {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        [Self::Openai, Self::Anthropic, Self::Scripted]
            .into_iter()
            .find(|protocol| protocol.as_str() == text)
            .ok_or("must be 'openai', 'anthropic' or 'scripted'")
    }
}

/// A configured model.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// Its name in traces and metrics.
    pub name: String,
    /// Who serves it, for the accounts: as written, else the host of `base_url`, else the protocol.
    pub provider: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// The API, `/v1` included; absent for `scripted`.
    pub base_url: Option<Url>,
    /// The API key.
    pub api_key: Option<Secret>,
    /// The provider's model name.
    pub model: String,
    /// What a call costs; `None` where nobody said.
    pub prices: Option<Prices>,
    /// The tokens that fit into its context; `None` where nobody said.
    pub context_tokens: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenModel {
    name: String,
    provider: Option<String>,
    protocol: Protocol,
    base_url: Option<String>,
    api_key: Option<String>,
    model: Option<String>,
    context_tokens: Option<u32>,
    price: Option<WrittenPrice>,
}

/// For each million tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPrice {
    currency: String,
    input: String,
    cached_input: Option<String>,
    output: String,
}

/// A model as far as it was read.
struct Found<'a> {
    name: &'a str,
    protocol: Protocol,
    base_url: Option<Url>,
    api_key: Option<Secret>,
    model: Option<String>,
}

impl Reader<'_> {
    pub(super) fn models(&mut self, written: &[WrittenModel]) -> Vec<ModelConfig> {
        if written.is_empty() {
            return self.environment_model().into_iter().collect();
        }
        for (at, model) in written.iter().enumerate() {
            if written[..at].iter().any(|other| other.name == model.name) {
                self.findings.problem(&format!("model '{}'", model.name), "is written twice");
            }
        }
        written.iter().filter_map(|model| self.model(model)).collect()
    }

    fn model(&mut self, written: &WrittenModel) -> Option<ModelConfig> {
        let label = |key: &str| format!("model '{}': {key}", written.name);
        let found = Found {
            name: &written.name,
            protocol: written.protocol,
            base_url: self.optional_url(true, &label("base_url"), written.base_url.as_ref()),
            api_key: self.secret(true, &label("api_key"), written.api_key.as_ref()),
            model: written.model.as_ref().and_then(|text| self.text(&label("model"), text)),
        };
        let prices = written.price.as_ref().and_then(|price| self.prices(&label, price));
        let model = self.checked_model(&label, found)?;
        Some(ModelConfig {
            provider: written.provider.clone().unwrap_or(model.provider),
            prices: prices.or(model.prices),
            context_tokens: written.context_tokens,
            ..model
        })
    }

    fn prices(&mut self, label: &dyn Fn(&str) -> String, written: &WrittenPrice) -> Option<Prices> {
        let WrittenPrice { currency, input, cached_input, output } = written;
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            self.findings.problem(&label("price.currency"), "must be a currency's three capital letters, like \"USD\"");
            return None;
        }
        let mut amount = |key: &str, text: &str| {
            let amount = text.parse::<Money>();
            amount.map_err(|error| self.findings.problem(&label(&format!("price.{key}")), error.to_string())).ok()
        };
        let read = amount("input", input);
        // A cache that nobody priced costs as much as reading anew.
        let cached = cached_input.as_ref().map_or(read, |text| amount("cached_input", text));
        let written = amount("output", output);
        Some(Prices::new(currency, read?, cached?, written?))
    }

    fn environment_model(&mut self) -> Option<ModelConfig> {
        let protocol = self.vars.parsed("LLM_PROTOCOL", Protocol::Scripted, self.findings);
        let base_url = self.vars.get("LLM_BASE_URL", self.findings);
        let base_url = base_url.and_then(|text| self.url("LLM_BASE_URL", &text));
        let api_key = self.vars.get("LLM_API_KEY", self.findings).map(Secret::new);
        let model = self.vars.get("LLM_MODEL", self.findings);
        let label = |key: &str| format!("LLM_{}", key.to_uppercase());
        self.checked_model(&label, Found { name: "main", protocol, base_url, api_key, model })
    }

    fn checked_model(&mut self, label: &dyn Fn(&str) -> String, found: Found<'_>) -> Option<ModelConfig> {
        let Found { name, protocol, base_url, api_key, model } = found;
        let scripted = protocol == Protocol::Scripted;
        if scripted {
            self.findings.unsafe_setting(&label("protocol"), "is 'scripted', a stand-in that answers from a script");
        } else {
            if base_url.is_none() {
                self.findings.problem(&label("base_url"), "is required for this protocol, '/v1' included");
            }
            if model.is_none() {
                self.findings.problem(&label("model"), "is required: the provider's name of the model");
            }
        }
        let host = base_url.as_ref().and_then(|url| url.host_str()).map(str::to_owned);
        Some(ModelConfig {
            name: name.to_owned(),
            provider: host.unwrap_or_else(|| protocol.as_str().to_owned()),
            protocol,
            base_url,
            api_key,
            model: model.unwrap_or_else(|| "scripted".to_owned()),
            prices: scripted.then(Prices::free),
            context_tokens: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Findings, Mode, Room, Vars};

    fn read(models: &str) -> (Vec<ModelConfig>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handrail.toml");
        std::fs::write(&path, models).unwrap();
        let vars = Vars::from_map([("HANDRAIL_CONFIG".to_owned(), path.display().to_string())].into());
        let mut findings = Findings::new(Mode::Development);
        let config = Config::load(&vars, Room::Worker, &mut findings);
        let problems = findings.finish().map_or_else(|error| error.to_string(), |_| String::new());
        (config.models, problems)
    }

    const MODEL: &str =
        "[[model]]\nname = \"first\"\nprotocol = \"openai\"\nmodel = \"m\"\nbase_url = \"http://127.0.0.1:9/v1\"\n";

    #[test]
    fn a_price_is_read_exactly_and_none_is_unknown() {
        let price = "[model.price]\ncurrency = \"USD\"\ninput = \"0.15\"\noutput = \"0.60\"\n";
        let (models, problems) =
            read(&format!("{MODEL}context_tokens = 8000\n{price}\n{}", MODEL.replace("first", "second")));
        assert_eq!(problems, "");
        let price = |text: &str| text.parse::<Money>().unwrap();
        let prices = Prices::new("USD", price("0.15"), price("0.15"), price("0.6"));
        assert_eq!((models[0].prices.as_ref(), models[0].context_tokens), (Some(&prices), Some(8_000)));
        assert_eq!((models[1].prices.as_ref(), models[1].provider.as_str()), (None, "127.0.0.1"));
    }

    #[test]
    fn a_wrong_price_and_a_name_given_twice_are_refused_by_name() {
        for (price, reason) in [
            ("currency = \"usd\"\ninput = \"1\"\noutput = \"1\"", "model 'first': price.currency"),
            ("currency = \"USD\"\ninput = \"1,5\"\noutput = \"1\"", "model 'first': price.input"),
            ("currency = \"USD\"\ninput = \"1\"\noutput = \"-1\"", "model 'first': price.output"),
            ("currency = \"USD\"\ninput = 1.5\noutput = \"1\"", "invalid type"),
            ("currency = \"USD\"\noutput = \"1\"", "missing field `input`"),
        ] {
            let (_, problems) = read(&format!("{MODEL}[model.price]\n{price}\n"));
            assert!(problems.contains(reason), "{reason}: {problems}");
        }
        let (_, problems) = read(&format!("{MODEL}{MODEL}"));
        assert!(problems.contains("model 'first': is written twice"), "{problems}");
    }
}
