//! Client certificates, and what may come over which connection.

use thornwall_tests::authority::{Authority, Issued, Wanted};

use super::{Bench, Client, certificate};
use crate::{
    generation::Generation,
    tls::{Refusal, TlsFacts, admits},
};

/// Sites `open`, `must`, `may` and `other`, the last with authorities of its own.
fn sites(modes: [&str; 4]) -> String {
    let names = ["open", "must", "may", "other"];
    let sites = names.iter().zip(modes).map(|(name, extra)| {
        format!(
            "[[site]]\nname = \"{name}\"\nhosts = [\"{name}.example\"]\nupstream = \"o\"\n\
             pipeline = \"open\"\n{extra}\n"
        )
    });
    certificate("all", "\"*.example\"") + &sites.collect::<String>()
}

const NONE: &str = "";
const MUST: &str = "client_certificate = { ca_file = \"clients.pem\" }";
const MAY: &str = "client_certificate = { ca_file = \"clients.pem\", mode = \"optional\" }";
const OTHER: &str = "client_certificate = { ca_file = \"others.pem\" }";

struct Parties {
    bench: Bench,
    member: Issued,
    stranger: Issued,
}

impl Parties {
    fn new() -> Self {
        let bench = Bench::new();
        let (clients, others) = (Authority::new("clients"), Authority::new("others"));
        bench.write("clients.pem", clients.pem());
        bench.write("others.pem", others.pem());
        let names = [
            "open.example",
            "must.example",
            "may.example",
            "other.example",
        ];
        bench.issue(
            "all",
            Wanted {
                names: &[names[0], names[1], names[2], names[3], "*.example"],
                ..Wanted::default()
            },
        );
        let wanted = Wanted {
            names: &["member"],
            client: true,
            ..Wanted::default()
        };
        Self {
            bench,
            member: clients.issue(wanted),
            stranger: Authority::new("nobody").issue(wanted),
        }
    }
}

fn facts(generation: &Generation, name: &str, identity: Option<&Issued>) -> Option<TlsFacts> {
    let client = Client::with(false, identity, |_| true);
    client.shake(generation, name).ok().map(|done| done.facts)
}

#[test]
fn a_site_lets_in_whom_its_authorities_know() {
    let parties = Parties::new();
    let generation = parties.bench.build(&sites([NONE, MUST, MAY, OTHER]), None);
    let generation = generation.unwrap();
    let check = |name: &str, identity: Option<&Issued>, expected: Option<bool>| {
        let facts = facts(&generation, name, identity);
        let shown = facts.map(|facts| facts.client_certificate.is_some());
        assert_eq!(shown, expected, "{name}");
    };
    let (member, stranger) = (Some(&parties.member), Some(&parties.stranger));
    check("open.example", None, Some(false));
    check("open.example", member, Some(false));
    check("must.example", None, None);
    check("must.example", stranger, None);
    check("must.example", member, Some(true));
    check("may.example", None, Some(false));
    check("may.example", stranger, None);
    check("may.example", member, Some(true));
    check("other.example", member, None);
}

#[test]
fn what_was_shown_is_a_byte_sequence() {
    let parties = Parties::new();
    let generation = parties.bench.build(&sites([NONE, MUST, MAY, OTHER]), None);
    let facts = facts(&generation.unwrap(), "must.example", Some(&parties.member)).unwrap();
    let field = facts.client_certificate.unwrap();
    let text = field.to_str().unwrap().trim_matches(':');
    let pem = parties.member.certificate.pem();
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    assert_eq!(text, lines.collect::<String>());
}

#[test]
fn a_host_is_held_against_its_handshake() {
    let parties = Parties::new();
    let generation = parties.bench.build(&sites([NONE, MUST, MAY, OTHER]), None);
    let generation = generation.unwrap();
    let member = Some(&parties.member);
    let connection = |name: Option<&str>| name.map(|n| facts(&generation, n, member).unwrap());
    let check = |came: Option<&str>, site: usize, expected: Result<(), Refusal>| {
        let facts = connection(came);
        let policy = generation.tls.client_policy(site);
        let admitted = admits(facts.as_ref(), policy.map(AsRef::as_ref));
        assert_eq!(admitted, expected, "{came:?} {site}");
    };
    let (open, must, may) = (0, 1, 2);
    check(None, open, Ok(()));
    check(None, must, Err(Refusal::PlainText));
    check(None, may, Ok(()));
    check(Some("open.example"), open, Ok(()));
    check(Some("open.example"), must, Err(Refusal::Misdirected));
    check(Some("open.example"), may, Err(Refusal::Misdirected));
    check(Some("unknown.example"), must, Err(Refusal::Misdirected));
    check(Some("127.0.0.1"), must, Err(Refusal::Misdirected));
    check(Some("may.example"), must, Err(Refusal::Misdirected));
    check(Some("must.example"), must, Ok(()));
    check(Some("must.example"), 3, Err(Refusal::Misdirected));
    check(Some("must.example"), open, Ok(()));
}

#[test]
fn no_session_leads_past_a_policy() {
    let parties = Parties::new();
    fn build(parties: &Parties, modes: [&str; 4], previous: Option<&Generation>) -> Generation {
        parties.bench.build(&sites(modes), previous).unwrap()
    }
    let open = build(&parties, [NONE, NONE, MAY, OTHER], None);
    let closed = build(&parties, [NONE, MUST, MAY, OTHER], Some(&open));
    for tls12 in [false, true] {
        let nobody = Client::new(tls12);
        assert!(!nobody.shake(&open, "must.example").unwrap().resumed);
        assert!(nobody.shake(&open, "must.example").unwrap().resumed);
        assert!(nobody.shake(&closed, "must.example").is_err());

        // Who was let in stays so over a reload, with the certificate, and not under new rules.
        let member = Client::with(tls12, Some(&parties.member), |_| true);
        let first = member.shake(&closed, "must.example").unwrap();
        let reloaded = build(&parties, [NONE, MUST, NONE, NONE], Some(&closed));
        let again = member.shake(&reloaded, "must.example").unwrap();
        assert!(again.resumed && !first.resumed);
        let shown = again.facts.client_certificate;
        assert!(shown.is_some() && shown == first.facts.client_certificate);
        let policy = reloaded.tls.client_policy(1).map(AsRef::as_ref);
        assert_eq!(admits(Some(&first.facts), policy), Ok(()));

        let rebuilt = build(&parties, [NONE, OTHER, NONE, NONE], Some(&reloaded));
        assert!(member.shake(&rebuilt, "must.example").is_err());
        let policy = rebuilt.tls.client_policy(1).map(AsRef::as_ref);
        let refused = admits(Some(&first.facts), policy);
        assert_eq!(refused, Err(Refusal::Misdirected));
    }
}

#[test]
fn without_a_name_the_site_of_all_names_is_meant() {
    let parties = Parties::new();
    let all = |extra: &str| {
        certificate("all", "\"*\"")
            + "[[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"open\"\n"
            + extra
    };
    let generation = parties.bench.build(&all(MUST), None).unwrap();
    assert!(facts(&generation, "127.0.0.1", None).is_none());
    let facts = facts(&generation, "127.0.0.1", Some(&parties.member)).unwrap();
    let policy = generation.tls.client_policy(0).map(AsRef::as_ref);
    assert_eq!(admits(Some(&facts), policy), Ok(()));
}
