//! What of a request gets into a question, and what makes a case of requests.

use http::HeaderValue;
use thornwall_detectors::{fixture::Request, signal::Signal};

use super::*;

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &str)| {
        let value = HeaderValue::from_str(value).unwrap();
        (HeaderName::from_static(name), value)
    };
    fields.iter().map(field).collect()
}

fn question(target: &str, headers: &HeaderMap, trail: &Trail) -> Question {
    let request = Request::new(&format!("GET {target}"), &[])
        .headers(headers.clone())
        .version(Version::HTTP_2)
        .client("2001:db8:1:2:3::4")
        .site(7)
        .secure()
        .at(Duration::from_secs(9));
    let request = request.view();
    let sighting = Sighting::of(&request, trail.score(), &KeySeed::new(&[1; 32]));
    let case = CaseSeed::default().case(&sighting);
    Question::of(&request, trail, sighting, case)
}

#[test]
fn no_secret_gets_into_a_question() {
    let fields = headers(&[
        ("user-agent", "curl/8.5.0"),
        ("cookie", "session=SECRET1"),
        ("authorization", "Bearer SECRET2"),
        ("proxy-authorization", "Basic SECRET3"),
        ("x-api-key", "SECRET4"),
        (
            "referer",
            "https://me:SECRET5@shop.example/cart;SECRET6?token=SECRET7#SECRET8",
        ),
        ("forwarded", "for=SECRET9"),
    ]);
    let target = "/login?user=SECRETa&SECRETb&=SECRETc;d=SECRETd&e=SECRETe=SECRETf";
    let question = question(target, &fields, &Trail::default());
    let told = format!("{question:?}");
    assert!(!told.contains("SECRET"), "{told}");
    assert_eq!(question.parameters, ["user", "d", "e"]);
    assert_eq!(question.referer, "shop.example/cart");
    assert_eq!(question.path, "/login");
    assert!(question.header_names.iter().any(|name| name == "cookie"));
    for (sent, expected) in [
        ("https://shop.example", "shop.example"),
        ("https://a@b@shop.example/x", "shop.example/x"),
        ("shop.example/SECRET", ""),
        ("android-app://com.example/", "com.example/"),
        ("", ""),
    ] {
        assert_eq!(referer(sent), expected, "{sent}");
    }
}

#[test]
fn a_question_is_bounded() {
    let long = "\u{e9}".repeat(5_000);
    let mut fields = HeaderMap::new();
    for name in [header::USER_AGENT, header::ACCEPT_LANGUAGE] {
        fields.insert(name, HeaderValue::from_bytes(long.as_bytes()).unwrap());
    }
    let referer = HeaderValue::from_str(&format!("https://h/{}", "a".repeat(5_000)));
    fields.insert(header::REFERER, referer.unwrap());
    for number in 0..200 {
        let name = format!("x-{}-{number}", "a".repeat(100));
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        fields.insert(name, HeaderValue::from_static("1"));
    }
    let query: String = (0..100)
        .map(|number| format!("{number}{}=1&", "b".repeat(50)))
        .collect();
    let mut trail = Trail::default();
    for weight in [0.2, 0.5, 0.1] {
        trail.push(Signal::new(Reason::PathProbe, weight));
    }
    trail.observe(true);
    trail.push(Signal::new(Reason::MethodUnusual, 0.5));
    let target = format!("/{}?{query}", "c".repeat(5_000));
    let question = question(&target, &fields, &trail);
    assert!(question.user_agent.len() <= LONGEST_TEXT);
    assert!(question.accept_language.len() <= LONGEST_NAME);
    assert_eq!(question.referer.len(), LONGEST_TEXT);
    assert_eq!(question.path.len(), LONGEST_TEXT);
    assert_eq!(question.parameters.len(), MOST_PARAMETERS);
    assert!(
        question
            .parameters
            .iter()
            .all(|name| name.len() <= LONGEST_PARAMETER)
    );
    assert_eq!(question.header_names.len(), MOST_HEADER_NAMES);
    assert!(
        question
            .header_names
            .iter()
            .all(|name| name.len() <= LONGEST_NAME)
    );
    assert_eq!(question.signals, [(Reason::PathProbe, 0.5)]);
    assert_eq!(question.sighting.client.to_string(), "2001:db8:1:2::");
    assert_eq!((question.http_version, question.tls), (20, true));
}

#[test]
fn a_client_that_goes_on_stays_one_case() {
    let seed = KeySeed::new(&[1; 32]);
    let first = headers(&[("user-agent", "a"), ("accept", "*/*")]);
    let later = headers(&[
        ("user-agent", "a"),
        ("accept", "text/html"),
        ("cookie", "a=b"),
        ("referer", "https://x/"),
    ]);
    assert_eq!(shape(&first, &seed), shape(&later, &seed));
    assert_ne!(shape(&first, &seed), shape(&first, &KeySeed::new(&[2; 32])));
    for other in [
        headers(&[("user-agent", "b"), ("accept", "*/*")]),
        headers(&[("user-agent", "a"), ("accept-language", "en")]),
        headers(&[
            ("user-agent", ""),
            ("accept-language", "a"),
            ("accept", "*/*"),
        ]),
    ] {
        assert_ne!(shape(&first, &seed), shape(&other, &seed), "{other:?}");
    }
    let cases = CaseSeed::default();
    let sighting = question("/", &first, &Trail::default()).sighting;
    let of = |site, client: &str, shape| {
        let client = client.parse().unwrap();
        cases.case(&Sighting {
            site,
            client,
            shape,
            ..sighting
        })
    };
    let one = of(1, "192.0.2.1", 5);
    assert_eq!(one, of(1, "192.0.2.1", 5));
    assert_ne!(one, of(2, "192.0.2.1", 5));
    assert_ne!(one, of(1, "192.0.2.2", 5));
    assert_ne!(one, of(1, "192.0.2.1", 6));
    assert_ne!(
        one,
        CaseSeed::default().case(&Sighting {
            site: 1,
            client: "192.0.2.1".parse().unwrap(),
            shape: 5,
            ..sighting
        })
    );
    assert_eq!(one.to_string().len(), 32);
}
