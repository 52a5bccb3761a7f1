//! Alerts as JSON to a webhook, signed.
//!
//! The body is the worst alert with the predecessor's fields, beside what else is in the message:
//!
//! ```json
//! {"id": "…", "alert_type": "AI_DEFENSE_BLOCK", "reason": "user_agent.scanner",
//!  "timestamp": "2026-01-02T03:04:05.678Z", "ip_address": "192.0.2.7", "user_agent": "zgrab/0.x",
//!  "details": {"site": "shop", "score": 0.99, "action": "deny", "steps": [{"name": "rules", "score": 0.99}],
//!              "case_id": "…", "requests": 3, "decision_until": "2026-01-02T04:04:05.678Z"},
//!  "others": [], "not_shown": 0, "repeated": 0, "held": 0}
//! ```
//!
//! How a receiver makes sure that a message is ours, and new:
//!
//! 1. Take `t` and `v1` from `X-Thornwall-Signature: t=SECONDS,v1=HEX`. `t` is Unix time.
//! 2. Compute HMAC-SHA256 over the text of `t`, a full stop, and the body exactly as it came. The key is the
//!    first line of `secret_file`, as bytes, without spaces at its ends.
//! 3. Compare with `v1` in constant time, and refuse what differs or whose `t` is minutes away from now.
//! 4. Refuse no message whose `Idempotency-Key`, which is `id`, was seen before, but do nothing about it:
//!    a message whose answer was lost comes again, with a new `t` and the same `id`.

use std::fmt;

use hmac::{Hmac, Mac};
use reqwest::{Client, header::CONTENT_TYPE};
use serde::Serialize;
use sha2::Sha256;

use super::{
    channel::{Failure, MOST_ANSWER, judged},
    message::Message,
    notice::Notice,
};
use crate::http::{Address, exchange};

pub(super) struct Webhook {
    client: Client,
    address: Address,
    key: String,
}

impl fmt::Debug for Webhook {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Webhook").field(&self.address).finish()
    }
}

/// What is posted.
#[derive(Serialize)]
struct Body<'m> {
    id: &'m str,
    #[serde(flatten)]
    worst: Option<&'m Notice>,
    others: &'m [Notice],
    not_shown: u64,
    repeated: u64,
    held: u64,
}

impl Webhook {
    /// A webhook at this address, with the key of signatures.
    pub(super) const fn new(client: Client, address: Address, key: String) -> Self {
        Self {
            client,
            address,
            key,
        }
    }

    pub(super) async fn send(&self, message: &Message, now_ms: u64) -> Result<(), Failure> {
        let body = body(message).map_err(|error| Failure::lasting(error.to_string()))?;
        let Some(signature) = signature(&self.key, now_ms / 1000, &body) else {
            return Err(Failure::lasting("the key cannot sign".to_owned()));
        };
        let request = self.client.post(self.address.url().clone());
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", &message.id)
            .header("x-thornwall-signature", signature)
            .body(body);
        judged(exchange(request, MOST_ANSWER).await)
    }
}

fn body(message: &Message) -> serde_json::Result<Vec<u8>> {
    let (worst, others) = match message.notices.split_first() {
        Some((worst, others)) => (Some(worst), others),
        None => (None, &[][..]),
    };
    serde_json::to_vec(&Body {
        id: &message.id,
        worst,
        others,
        not_shown: message.not_shown,
        repeated: message.repeated,
        held: message.held,
    })
}

/// `t=SECONDS,v1=HEX`; nothing is signed only where the key cannot be one.
fn signature(key: &str, now_secs: u64, body: &[u8]) -> Option<String> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
    hmac.update(format!("{now_secs}.").as_bytes());
    hmac.update(body);
    let digest = hmac.finalize().into_bytes();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("t={now_secs},v1={hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_others_compute() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        let signed = signature(
            "0123456789abcdef0123456789abcdef",
            1_700_000_000,
            b"{\"a\":1}",
        );
        assert_eq!(signed.unwrap(), EXPECTED);
    }

    const EXPECTED: &str =
        "t=1700000000,v1=f05f2539e3ae1c49aec5f8cfdad75ef6b06480b133973ffbb7ec9e18827af177";

    #[test]
    fn the_body_has_the_predecessors_fields() {
        let notices = vec![Notice::test(0), Notice::test(0)];
        let message = Message {
            id: "i".to_owned(),
            notices,
            not_shown: 3,
            repeated: 2,
            held: 1,
        };
        let body: serde_json::Value = serde_json::from_slice(&body(&message).unwrap()).unwrap();
        let keys = [
            "id",
            "alert_type",
            "reason",
            "timestamp",
            "ip_address",
            "user_agent",
            "details",
        ];
        for key in keys {
            assert!(!body[key].is_null(), "{key}");
        }
        assert_eq!(body["details"]["action"], "alert");
        assert_eq!(body["others"][0]["alert_type"], "AI_DEFENSE_TEST");
        assert_eq!(body["not_shown"], 3);
    }
}
