//! Alerts to an incoming webhook of Slack: an attachment each, coloured by its severity.
//!
//! Slack reads `&`, `<` and `>` as its own signs: `<!channel>` calls everybody, and `<https://…|text>` shows
//! a link as something else. So they are escaped as it documents, in everything that is not ours, and neither its
//! marks of emphasis nor previews of links are on.

use std::fmt;

use reqwest::Client;
use serde_json::{Value, json};

use super::{
    channel::{Failure, MOST_ANSWER, judged},
    message::{Message, lines},
    notice::Notice,
};
use crate::{
    assessment::Severity,
    http::{Address, exchange},
};

/// An incoming webhook of Slack. Its address is a secret.
pub(super) struct Slack {
    client: Client,
    address: Address,
}

impl fmt::Debug for Slack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slack").field(&self.address).finish()
    }
}

impl Slack {
    /// A webhook at this address.
    pub(super) const fn new(client: Client, address: Address) -> Self {
        Self { client, address }
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), Failure> {
        let request = self.client.post(self.address.url().clone());
        judged(exchange(request.json(&body(message)), MOST_ANSWER).await)
    }
}

fn body(message: &Message) -> Value {
    let mut text = message.headline();
    if let Some(remainder) = message.remainder() {
        text = format!("{text}\n{remainder}");
    }
    let attachments: Vec<Value> = message.notices.iter().map(attachment).collect();
    json!({
        "text": escaped(&text),
        "attachments": attachments,
        "mrkdwn": false,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

fn attachment(notice: &Notice) -> Value {
    let text = escaped(&lines(notice).join("\n"));
    json!({
        "color": color(notice.details.action),
        "fallback": text,
        "text": text,
        "mrkdwn_in": [],
    })
}

const fn color(action: Severity) -> &'static str {
    match action {
        Severity::Alert => "#439fe0",
        Severity::Throttle => "#f2c744",
        Severity::Tarpit => "#e8702a",
        Severity::Deny => "#d00000",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_others_is_a_sign_of_slack() {
        let mut notice = Notice::test(0);
        notice.user_agent = "<!channel> <https://e.example|shop> & *x*".to_owned();
        notice.details.action = Severity::Deny;
        let message = Message {
            id: "i".to_owned(),
            notices: vec![notice],
            not_shown: 3,
            repeated: 0,
            held: 0,
        };
        let body = body(&message);
        let text = body["attachments"][0]["text"].as_str().unwrap();
        assert!(
            text.contains("&lt;!channel&gt; &lt;https://e.example|shop&gt; &amp; *x*"),
            "{text}"
        );
        assert!(!body.to_string().contains(['<', '>']));
        assert_eq!(body["attachments"][0]["color"], "#d00000");
        assert_eq!(
            body["text"],
            "deny 192.0.2.1 at test: sidecar.alert_test (and 3 more)\n3 more are not shown"
        );
    }
}
