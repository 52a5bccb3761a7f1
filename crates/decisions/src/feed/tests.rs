//! Feeds as they are published, and as they break.

use super::*;

fn read(text: &str, form: &Form) -> Parsed {
    parse(text.as_bytes(), form).unwrap()
}

fn json(pointer: &str) -> Form {
    Form::Json(pointer.parse().unwrap())
}

fn names(parsed: &Parsed) -> Vec<String> {
    parsed.subjects.iter().map(Prefix::to_string).collect()
}

#[test]
fn lists_of_lines_are_read() {
    let text = "\u{feff}# a list\r\n198.51.100.0/24 ; SBL1\r\n\r\n192.0.2.7\t5\n192.0.2.7\n2001:db8::/32 # x\n; end";
    let parsed = read(text, &Form::Text);
    assert_eq!(
        names(&parsed),
        ["192.0.2.7", "198.51.100.0/24", "2001:db8::/32"]
    );
    assert_eq!((parsed.refused.sum(), parsed.corrected), (0, 0));
    assert_eq!(read("# nobody today\n", &Form::Text), Parsed::default());
}

#[test]
fn what_would_harm_people_is_refused_and_counted() {
    let text = "0.0.0.0/0\n8.0.0.0/7\n::/0\n2000::/15\n10.0.0.1\n127.0.0.0/8\n192.168.0.0/16\n\
                fe80::1%eth0\nfd00::/32\n::ffff:10.1.2.3\nshop.example\n192.0.2.999\n\
                8.8.8.8\n9.9.9.9\n1.1.1.1\n11.0.0.0/8\n2a00::/16\n172.0.0.0/8\n";
    let parsed = read(text, &Form::Text);
    assert_eq!(
        names(&parsed),
        ["1.1.1.1", "8.8.8.8", "9.9.9.9", "11.0.0.0/8", "2a00::/16"]
    );
    let refused = Refused {
        too_broad: 4,
        malformed: 2,
        not_global: 7,
    };
    assert_eq!(parsed.refused, refused);
}

#[test]
fn what_must_mean_something_is_taken_for_it_and_told() {
    let text = "192.0.2.9/24\n::ffff:198.51.100.7\n\n2001:db8::1%eth0\n2001:db8:1::7/48\n";
    let parsed = read(text, &Form::Text);
    assert_eq!(
        names(&parsed),
        [
            "192.0.2.0/24",
            "198.51.100.7",
            "2001:db8::1",
            "2001:db8:1::/48"
        ]
    );
    assert_eq!(parsed.corrected, 3);
    assert_eq!(
        parsed.notes[0],
        "line 1: `192.0.2.9/24` is taken for 192.0.2.0/24"
    );
    assert!(
        parsed.notes[1].starts_with("line 4: "),
        "{:?}",
        parsed.notes
    );
    let many = read(&"192.0.2.9/24\n".repeat(50), &Form::Text);
    assert_eq!((many.corrected, many.notes.len()), (50, MOST_NOTES));
}

#[test]
fn json_is_read_where_the_pointer_points() {
    let check = |text: &str, pointer: &str, expected: &[&str]| {
        assert_eq!(names(&read(text, &json(pointer))), expected, "{pointer}");
    };
    let data = r#"{"meta":{"ip":"9.9.9.9"},"data":[{"ip":"192.0.2.1","n":1},{"n":{"ip":"1.1.1.1"}},{"ip":"192.0.2.2"}]}"#;
    check(data, "/data/*/ip", &["192.0.2.1", "192.0.2.2"]);
    check(data, "/data/2/ip", &["192.0.2.2"]);
    check(data, "/data/7/ip", &[]);
    check(data, "/nothing", &[]);
    check(
        r#"["192.0.2.1"," 192.0.2.2 "]"#,
        "/*",
        &["192.0.2.1", "192.0.2.2"],
    );
    check(r#""192.0.2.1""#, "", &["192.0.2.1"]);
    check(
        r#"{"a/b":{"~":{"":"192.0.2.1"}}}"#,
        "/a~1b/~0/",
        &["192.0.2.1"],
    );
    check(
        r#"{"x":{"p":["192.0.2.1"]},"y":{"p":["192.0.2.2"]}}"#,
        "/*/p/*",
        &["192.0.2.1", "192.0.2.2"],
    );
    // One text per line, with one about the list itself, as Spamhaus publishes it.
    let lines = "{\"cidr\":\"192.0.2.0/24\",\"sblid\":\"SBL1\"}\n{\"cidr\":\"198.51.100.0/24\"}\n{\"type\":\"metadata\",\"size\":2}\n";
    check(lines, "/cidr", &["192.0.2.0/24", "198.51.100.0/24"]);
    let notes = read(r#"["192.0.2.1","192.0.2.9/24"]"#, &json("/*")).notes;
    assert!(notes[0].starts_with("entry 2: "), "{notes:?}");
}

#[test]
fn tables_are_read_by_number_and_by_name() {
    let by_number = |text: &str, number| read(text, &Form::Csv(Column::Number(number)));
    let by_name = |text: &str, name: &str| read(text, &Form::Csv(Column::Name(name.to_owned())));
    let text =
        "# Feodo\nfirst_seen,dst_ip,port\n\"2024\",\"192.0.2.1\",443\n2024, 192.0.2.2 ,\"4,4\"\n";
    assert_eq!(names(&by_number(text, 1)), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(by_number(text, 1).refused.sum(), 0);
    assert_eq!(names(&by_name(text, "DST_IP")), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(
        names(&by_number("192.0.2.1\n192.0.2.2,x\n", 0)),
        ["192.0.2.1", "192.0.2.2"]
    );
    assert_eq!(
        by_number("192.0.2.1,a\n192.0.2.2,b\n7\n8.8.8.8/33,\n", 0)
            .refused
            .malformed,
        2
    );
    let error = parse(text.as_bytes(), &Form::Csv(Column::Name("ip".to_owned())));
    assert_eq!(error, Err(FeedError::NoColumn("ip".to_owned())));
}

#[test]
fn what_is_no_list_is_an_error() {
    let check = |text: &[u8], form: &Form, part: &str| {
        let told = parse(text, form).unwrap_err().to_string();
        assert!(told.contains(part), "{told}");
    };
    for form in [Form::Text, json("/*"), Form::Csv(Column::Number(0))] {
        check(b"\xef\xbb\xbf \r\n<!DOCTYPE html><html>", &form, "is HTML");
    }
    check(
        b"error: quota exceeded\n",
        &Form::Text,
        "the first: `error:` is not an address",
    );
    check(&[0xff; 5000], &Form::Text, "is no list");
    check(b"{\"error\":\"quota\"", &json("/*"), "is no JSON");
    check(
        br#"{"data":[1,null,{},[],true,1.5]}"#,
        &json("/data/*"),
        "of 6 entries, 6 are neither",
    );
    check("[".repeat(100_000).as_bytes(), &json("/*"), "is no JSON");
    check(
        b"a,b\nc,d\ne,f\n",
        &Form::Csv(Column::Number(1)),
        "is no list",
    );
    let mut long = String::new();
    for number in 0..=MOST_SUBJECTS {
        long.push_str(&format!(
            "2001:db8::{:x}:{:x}\n",
            number >> 16,
            number & 0xffff
        ));
    }
    assert_eq!(parse(long.as_bytes(), &Form::Text), Err(FeedError::TooMany));
    let quoted = format!("\"{}\"", long.trim().replace('\n', "\",\""));
    let all = format!("[{quoted}]");
    assert_eq!(parse(all.as_bytes(), &json("/*")), Err(FeedError::TooMany));
}

#[test]
fn pointers_that_are_none_are_refused() {
    let check = |text: &str, error| assert_eq!(text.parse::<Pointer>(), Err(error), "{text}");
    check("data", PointerError::NoSlash);
    check("/a~", PointerError::Tilde);
    check("/a~2b", PointerError::Tilde);
    check(&"/a".repeat(33), PointerError::Deep);
}

#[test]
fn no_bytes_make_the_parser_panic() {
    let mut state = 7u64;
    let alphabet = b"0123456789abf:./#; \r\n\t\"{}[],-\xef\xbb\xbf\xff\\";
    let forms = [
        Form::Text,
        json("/*"),
        json(""),
        json("/a/0"),
        Form::Csv(Column::Number(1)),
        Form::Csv(Column::Name("a".to_owned())),
    ];
    for _ in 0..2_000 {
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize
        };
        let text: Vec<u8> = (0..next() % 48)
            .map(|_| alphabet[next() % alphabet.len()])
            .collect();
        for form in &forms {
            if let Ok(parsed) = parse(&text, form) {
                assert!(parsed.subjects.len() <= text.len());
            }
        }
    }
}
