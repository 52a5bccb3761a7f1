//! A head that the judge lets through is read by an independent parser as the judge reads it, and
//! it does not matter in which pieces it arrived.

use thornwall_gateway::edge::head::{Framing, HeadLimits, Judged, Refusal, Scan, judge, scan};

const LIMITS: HeadLimits = HeadLimits {
    max_bytes: 4096,
    max_fields: 32,
};

/// The first byte is how many of the others arrive at a time.
pub(crate) fn run(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = ask(bytes, bytes.len().max(1));
    let pieces = ask(bytes, usize::from(*step).max(1));
    assert_eq!(whole.is_ok(), pieces.is_ok());
    if let Ok(Some((end, judged))) = whole.clone() {
        assert_eq!(pieces, whole);
        compare(&judged.safe(bytes[..end].into()), judged.framing);
    }
    let _ = judge(bytes, &LIMITS);
}

/// What becomes of bytes that arrive `step` at a time.
fn ask(bytes: &[u8], step: usize) -> Result<Option<(usize, Judged)>, Refusal> {
    let (mut scanned, mut there) = (0, 0);
    while there < bytes.len() {
        there = bytes.len().min(there + step);
        if let Scan::Complete(end) = scan(&bytes[..there], &mut scanned, &LIMITS)? {
            return judge(&bytes[..end], &LIMITS).map(|judged| Some((end, judged)));
        }
    }
    Ok(None)
}

fn compare(head: &[u8], framing: Framing) {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    assert_eq!(
        request.parse(head),
        Ok(httparse::Status::Complete(head.len()))
    );
    assert!(
        request
            .path
            .is_some_and(|path| path.is_ascii() && !path.contains(['#', ' ']))
    );
    let values = |name: &str| -> Vec<&[u8]> {
        let named = request
            .headers
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value).collect()
    };
    let hosts = values("host").len();
    assert!(hosts == 1 || (hosts == 0 && request.version == Some(0)));
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match framing {
        Framing::None => assert!(lengths.is_empty() && codings.is_empty()),
        Framing::Length(length) => {
            assert_eq!(lengths, [length.to_string().as_bytes()]);
            assert!(codings.is_empty());
        }
        Framing::Chunked => {
            assert!(lengths.is_empty() && request.version == Some(1));
            assert_eq!(codings.len(), 1);
            assert!(codings[0].eq_ignore_ascii_case(b"chunked"));
        }
    }
}
