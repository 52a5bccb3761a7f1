//! Any bytes of an HTTP/2 client, in any chunks, are judged as one by one.

use thornwall_gateway::edge::h2_frames::{Abuse, FrameWatch, Limits};

/// Small enough that short inputs reach them.
const LIMITS: Limits = Limits {
    max_header_block_bytes: 64,
    max_continuations: 2,
    max_reset_debt: 8,
    max_control_debt: 8,
};

const START: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The first byte says whether the connection has begun, the second how many bytes are lengths of
/// the pieces in which the rest arrives.
pub(crate) fn run(bytes: &[u8]) {
    let Some(([start, pieces], bytes)) = bytes.split_first_chunk() else {
        return;
    };
    let Some((sizes, bytes)) = bytes.split_at_checked(usize::from(*pieces)) else {
        return;
    };
    let bytes = if *start == 0 {
        bytes.to_vec()
    } else {
        [START, bytes].concat()
    };
    let singly = fed(bytes.chunks(1));
    let mut rest = &bytes[..];
    let chunks = sizes.iter().map_while(|size| {
        let (chunk, after) = rest.split_at_checked(usize::from(*size))?;
        rest = after;
        Some(chunk)
    });
    let mut chunks: Vec<&[u8]> = chunks.collect();
    chunks.push(rest);
    assert_eq!(fed(chunks.into_iter()), singly);
    assert_eq!(fed([&bytes[..]].into_iter()), singly);
}

/// What it came to: the abuse, or all of the state.
fn fed<'a>(mut chunks: impl Iterator<Item = &'a [u8]>) -> Result<String, Abuse> {
    let mut watch = FrameWatch::default();
    chunks.try_for_each(|chunk| watch.feed(chunk, &LIMITS))?;
    watch.tick();
    Ok(format!("{watch:?}"))
}
