//! The card of a model: the features that it was trained on, and its threshold.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ModelError;
use crate::features::{COUNT, FEATURES, VERSION, schema_hash};

/// The part of a model's card that scoring needs; the file holds more for people to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// The model's name.
    pub name: String,
    /// [`VERSION`] of the features that it was trained on.
    pub schema_version: u32,
    /// [`schema_hash`] of the features that it was trained on.
    pub schema_hash: String,
    /// Their names, in order.
    pub features: Vec<String>,
    /// Score from which a request is anomalous.
    pub threshold: f32,
    /// SHA-256 of the `.onnx` file, in hex.
    pub onnx_sha256: String,
}

impl Card {
    /// A card for a model of our own features.
    pub fn ours(name: &str, threshold: f32, onnx: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            schema_version: VERSION,
            schema_hash: schema_hash(),
            features: FEATURES
                .iter()
                .map(|feature| feature.name.to_owned())
                .collect(),
            threshold,
            onnx_sha256: sha256_hex(onnx),
        }
    }

    /// Reads a card and sees that it speaks of our features.
    pub(super) fn parse(json: &[u8]) -> Result<Self, ModelError> {
        let card: Self = serde_json::from_slice(json)
            .map_err(|error| ModelError::Card(format!("is not readable: {error}")))?;
        match card.misfit() {
            None => Ok(card),
            Some(what) => Err(ModelError::Card(what)),
        }
    }

    fn misfit(&self) -> Option<String> {
        if self.schema_version != VERSION {
            return Some(format!(
                "is for feature schema {}, and this program has {VERSION}; train it anew",
                self.schema_version
            ));
        }
        if self.features.len() != COUNT {
            return Some(format!(
                "names {} features, and this program has {COUNT}; train it anew",
                self.features.len()
            ));
        }
        if self.schema_hash != schema_hash() {
            return Some("is for other features (`schema_hash` differs); train it anew".to_owned());
        }
        let threshold = self.threshold;
        (!(threshold > 0.0 && threshold < 1.0))
            .then(|| format!("has the threshold {threshold}; expected a number between 0 and 1"))
    }
}

/// SHA-256 of some bytes, in hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Card {
        Card::ours("test", 0.5, b"model")
    }

    #[test]
    fn card_of_other_features_is_refused() {
        let check = |change: fn(&mut Card), complaint: &str| {
            let mut card = ours();
            change(&mut card);
            let json = serde_json::to_vec(&card).expect("a card is JSON");
            let said = Card::parse(&json).map_err(|error| error.to_string());
            match complaint {
                "" => assert_eq!(said, Ok(card)),
                _ => assert!(
                    said.clone().is_err_and(|e| e.contains(complaint)),
                    "{said:?}"
                ),
            }
        };
        check(|_| {}, "");
        check(|card| card.schema_version += 1, "feature schema");
        check(|card| card.schema_hash.push('0'), "schema_hash");
        check(|card| card.features.push("x".into()), "features");
        check(|card| card.threshold = 0.0, "threshold");
        check(|card| card.threshold = 1.0, "threshold");
        check(|card| card.threshold = -0.1, "threshold");
    }

    #[test]
    fn card_that_is_no_card_is_refused() {
        for json in ["", "{}", "[]", "{\"name\": 1}", "nonsense"] {
            assert!(Card::parse(json.as_bytes()).is_err(), "{json}");
        }
        // JSON has no NaN; serde reads null as nothing that fits a number.
        let mut card = ours();
        card.threshold = f32::NAN;
        let json = serde_json::to_vec(&card).expect("a card is JSON");
        assert!(Card::parse(&json).is_err());
    }

    #[test]
    fn further_keys_of_a_card_are_for_people() {
        let mut json = serde_json::to_value(ours()).expect("a card is JSON");
        json["evaluation"] = serde_json::json!({"recall": 0.9});
        assert!(Card::parse(json.to_string().as_bytes()).is_ok());
    }

    #[test]
    fn hash_is_that_of_fips_180() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), expected);
    }
}
