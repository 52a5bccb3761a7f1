//! What is made of what others say of addresses.

use thornwall_proto::v1::Action;
use tokio::sync::watch;

use super::*;
use crate::{
    fixture::{Configured, Receiver, Reply, configured, dubious, json, wrong_answers},
    serve,
};

/// An answer of `check`, as AbuseIPDB's documentation shows it.
fn checked(address: &str, score: u32, whitelisted: &str) -> String {
    format!(
        r#"{{"data": {{"ipAddress": "{address}", "isPublic": true, "ipVersion": 4,
        "isWhitelisted": {whitelisted}, "abuseConfidenceScore": {score}, "countryCode": "CN",
        "usageType": "Data Center/Web Hosting/Transit", "isp": "Example", "domain": "example.com",
        "hostnames": [], "isTor": false, "totalReports": 12, "numDistinctUsers": 5,
        "lastReportedAt": "2018-12-20T20:55:14+00:00"}}}}"#
    )
}

fn abuseipdb(receiver: &Receiver, more: &str) -> Configured {
    let address = receiver.address;
    let text = format!(
        "[server]\ndata_dir = \"data\"\n[[reputation]]\nname = \"abuse\"\nkind = \"abuseipdb\"\n\
         address = \"http://{address}/api/v2/check\"\nkey_file = \"key\"\n{more}"
    );
    configured(&text)
}

fn generic(receiver: &Receiver, more: &str) -> Configured {
    let address = receiver.address;
    let text = format!(
        "[[reputation]]\nname = \"intel\"\nkind = \"http\"\n\
         address = \"http://{address}/ip/{{address}}\"\n{more}"
    );
    configured(&text)
}

fn step(file: &ConfigFile) -> Reputation {
    let services = Services::new().unwrap();
    Reputation::build(file, &services).unwrap().unwrap()
}

#[tokio::test]
async fn abuseipdb_is_asked_as_it_is_documented() {
    let receiver = Receiver::start([json(checked("192.0.2.7", 75, "false"))]).await;
    let step = step(&abuseipdb(&receiver, ""));
    let case = dubious("192.0.2.7");
    assert_eq!(step.recall(&case, 0), None);
    let found = step.ask(&case, 0).await.unwrap();
    assert!((found.weight - 0.45).abs() < 1e-6, "{found:?}");
    assert_eq!(
        found.evidence,
        "abuse: 75 of 100, 12 reports by 5 in 90 days"
    );
    assert_eq!(step.recall(&case, 0), Some(found));
    let [asked] = &receiver.asked()[..] else {
        panic!("{:?}", receiver.asked());
    };
    let target = "/api/v2/check?ipAddress=192.0.2.7&maxAgeInDays=90";
    assert_eq!(asked.uri.to_string(), target);
    assert_eq!(asked.headers["key"], "open-sesame");
    assert_eq!(asked.headers["accept"], "application/json");
    assert_eq!(asked.body, "");
}

#[test]
fn a_worse_number_never_weighs_less() {
    let scale = Scale {
        floor: 50.0,
        full: 100.0,
        most_weight: 0.6,
    };
    let weight = |score: u32, vouched| {
        scale.weight(&Report {
            score: score.into(),
            vouched,
            details: String::new(),
        })
    };
    let weights: Vec<f32> = (0..=100).map(|score| weight(score, false)).collect();
    assert!(weights.is_sorted(), "{weights:?}");
    assert_eq!(weights[49], 0.0);
    assert!((weights[50] - 0.3).abs() < 1e-6 && (weights[100] - 0.6).abs() < 1e-6);
    assert_eq!(weight(100, true), 0.0);
}

#[tokio::test]
async fn what_is_vouched_for_weighs_nothing_and_clears_nobody() {
    let answers = ["true", "null"].map(|vouched| json(checked("192.0.2.7", 100, vouched)));
    let receiver = Receiver::start(answers).await;
    let file = abuseipdb(&receiver, "limits = { keep_secs = 1 }");
    let step = step(&file);
    let case = dubious("192.0.2.7");
    let vouched = step.ask(&case, 0).await.unwrap();
    assert_eq!((vouched.weight, vouched.ceiling), (0.0, 1.0));
    assert!(vouched.evidence.contains("whitelisted"), "{vouched:?}");
    assert!(step.ask(&case, 1_000).await.unwrap().weight > 0.5);
}

#[tokio::test]
async fn only_addresses_of_the_internet_are_told() {
    let receiver = Receiver::start([]).await;
    let step = step(&abuseipdb(&receiver, ""));
    for subject in [
        "10.0.0.7",
        "127.0.0.1",
        "100.64.1.1",
        "fd00::1",
        "2001:db8:1:2::/64",
    ] {
        let case = dubious(subject);
        let known = step.recall(&case, 0).unwrap();
        assert_eq!(known.weight, 0.0);
        assert_eq!(step.ask(&case, 0).await.unwrap(), known);
    }
    assert!(receiver.asked().is_empty());
}

#[tokio::test]
async fn networks_are_asked_about_where_the_service_knows_them() {
    let receiver = Receiver::start([json(r#"{"risk": {"number": 10}}"#)]).await;
    let more = "networks = true\nscore = \"/risk/number\"\nfull = 10\nkey_file = \"key\"\n\
                key_header = \"X-Api-Key\"";
    let step = step(&generic(&receiver, more));
    let found = step.ask(&dubious("2001:db8:1:2::/64"), 0).await.unwrap();
    assert!((found.weight - 0.6).abs() < 1e-6, "{found:?}");
    let asked = &receiver.asked()[0];
    assert_eq!(asked.uri.to_string(), "/ip/2001:db8:1:2::");
    assert_eq!(asked.headers["x-api-key"], "open-sesame");
    assert!(!asked.headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_number_alone_is_an_answer_and_one_out_of_range_is_none() {
    let receiver = Receiver::start(["60", "101", "-1", "\"60\""].map(json)).await;
    let step = step(&generic(&receiver, "key_file = \"key\""));
    let ask = |last: u8| step.ask_one(last);
    assert!((ask(1).await.unwrap().weight - 0.36).abs() < 1e-6);
    assert_eq!(
        receiver.asked()[0].headers["authorization"],
        "Bearer open-sesame"
    );
    for last in 2..5 {
        ask(last).await.unwrap_err();
    }
}

impl Reputation {
    async fn ask_one(&self, last: u8) -> Result<Finding, StepError> {
        self.ask(&dubious(&format!("192.0.2.{last}")), 0).await
    }
}

#[tokio::test]
async fn what_no_service_may_answer_is_a_failure() {
    let elsewhere = Receiver::start([]).await;
    for (reply, expected) in wrong_answers(format!("http://{}/", elsewhere.address)) {
        let receiver = Receiver::start([reply]).await;
        let step = step(&abuseipdb(&receiver, "limits = { timeout_secs = 1 }"));
        let said = step.ask_one(7).await.unwrap_err().to_string();
        assert!(
            said.starts_with("abuse: ") && said.contains(expected),
            "{said}"
        );
        assert_eq!(receiver.asked().len(), 1);
    }
    assert!(elsewhere.asked().is_empty());
    let receiver = Receiver::start([json(checked("192.0.2.8", 100, "false"))]).await;
    let step = step(&abuseipdb(&receiver, ""));
    let said = step.ask_one(7).await.unwrap_err().to_string();
    assert!(said.contains("another address"), "{said}");
}

#[tokio::test]
async fn a_day_that_is_used_up_is_not_asked_into() {
    let detail = "Daily rate limit of 1000 requests exceeded for this endpoint. See headers for additional details.";
    let fields = [
        ("retry-after", "1800"),
        ("x-ratelimit-limit", "1000"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1545973200"),
    ];
    let fields = fields.map(|(name, value)| (name, value.to_owned()));
    let body = format!(r#"{{"errors": [{{"detail": "{detail}", "status": 429}}]}}"#);
    let enough = Reply::Say(429, fields.to_vec(), body);
    let receiver = Receiver::start([enough, json(checked("192.0.2.7", 50, "false"))]).await;
    let step = step(&abuseipdb(&receiver, ""));
    let case = dubious("192.0.2.7");
    let said = step.ask(&case, 0).await.unwrap_err().to_string();
    assert_eq!(said, format!("abuse: status 429: {detail}"));
    let left = step.ask(&case, 1_799_000).await.unwrap_err().to_string();
    assert!(left.contains("not asked for another 1 s"), "{left}");
    assert!(step.ask(&case, 1_800_000).await.is_ok());
    assert_eq!(receiver.asked().len(), 2);
}

#[tokio::test]
async fn of_several_the_worst_counts_and_one_that_fails_is_named() {
    let good = Receiver::start([json(checked("192.0.2.7", 100, "false"))]).await;
    let broken = Receiver::start([]).await;
    let more = format!(
        "[[reputation]]\nname = \"intel\"\nkind = \"http\"\naddress = \"http://{}/{{address}}\"",
        broken.address
    );
    let step = step(&abuseipdb(&good, &more));
    let case = dubious("192.0.2.7");
    let found = step.ask(&case, 0).await.unwrap();
    assert!((found.weight - 0.6).abs() < 1e-6, "{found:?}");
    assert!(found.evidence.ends_with("; intel: status 418"), "{found:?}");
    // Not every service is known to have answered, so that the case stays pending.
    assert_eq!(step.recall(&case, 0), None);
}

#[tokio::test]
async fn a_case_in_doubt_is_condemned_by_what_is_known_of_its_address() {
    let receiver = Receiver::start([json(checked("192.0.2.7", 100, "false"))]).await;
    let (_stop, shutdown) = watch::channel(false);
    let file = abuseipdb(&receiver, "");
    let (sidecar, thread, _keeper) = serve::build(&file, shutdown).unwrap();
    let case = dubious("192.0.2.7");
    let (before, pending) = sidecar.settle(case.clone());
    assert!(before.decision.is_none(), "{before:?}");
    let after = sidecar.assess_fully(pending.unwrap()).await;
    // 1 - (1 - 0.7)(1 - 0.6)
    assert!((after.score - 0.88).abs() < 1e-4, "{after:?}");
    let decision = after.decision.as_ref().unwrap();
    assert_eq!(
        (decision.action(), decision.subject.as_str()),
        (Action::Throttle, "192.0.2.7")
    );
    assert!(
        decision.evidence.contains("abuse: 100 of 100"),
        "{decision:?}"
    );
    let names: Vec<&str> = after.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["history", "rules", "reputation"]);
    // From now on it is known, and nobody is asked.
    let (again, pending) = sidecar.settle(case);
    assert!(pending.is_none() && again.score >= after.score, "{again:?}");
    assert_eq!(receiver.asked().len(), 1);
    // A case that does not change convicts itself of nothing more.
    let number = again.decision.unwrap().number;
    for _ in 0..5 {
        let (same, _) = sidecar.settle(dubious("192.0.2.7"));
        assert_eq!(same.decision.unwrap().number, number);
        assert!((same.score - after.score).abs() < 1e-4, "{:?}", same.score);
    }
    let shown = String::from_utf8(sidecar.metrics.render().unwrap()).unwrap();
    let counted = r#"questions_total{outcome="asked",service="abuse"} 1"#;
    assert!(shown.contains(counted), "{shown}");
    assert!(!shown.contains("open-sesame"));
    sidecar.history.stop();
    thread.join().unwrap();
}

#[tokio::test]
async fn a_service_that_is_gone_leaves_the_case_as_it_was() {
    let receiver = Receiver::start([]).await;
    let (_stop, shutdown) = watch::channel(false);
    let file = abuseipdb(&receiver, "");
    let (sidecar, thread, _keeper) = serve::build(&file, shutdown).unwrap();
    let after = sidecar.assess_fully(dubious("192.0.2.7")).await;
    assert!(
        (after.score - 0.7).abs() < 1e-4 && after.decision.is_none(),
        "{after:?}"
    );
    let last = after.steps.last().unwrap();
    assert!(
        last.failed && last.evidence == "abuse: status 418",
        "{last:?}"
    );
    sidecar.history.stop();
    thread.join().unwrap();
}
