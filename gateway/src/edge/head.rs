//! stub
use thornwall_detectors::signal::Reason;
pub struct HeadLimits {
    pub max_bytes: usize,
    pub max_fields: usize,
}
pub enum Scan {
    Partial,
    Complete(usize),
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
}
pub struct Refusal {
    pub status: u16,
    pub reason: Reason,
}
impl Refusal {
    pub fn timeout() -> Self {
        Self {
            status: 408,
            reason: Reason::HostMissing,
        }
    }
}
pub fn scan(b: &[u8], scanned: &mut usize, l: &HeadLimits) -> Result<Scan, Refusal> {
    let from = scanned.saturating_sub(3);
    if let Some(at) = memchr::memmem::find(&b[from..], b"\r\n\r\n") {
        return Ok(Scan::Complete(from + at + 4));
    }
    *scanned = b.len();
    if b.len() > l.max_bytes {
        return Err(Refusal {
            status: 431,
            reason: Reason::HostInvalid,
        });
    }
    Ok(Scan::Partial)
}
pub fn judge(head: &[u8], _: &HeadLimits) -> Result<Framing, Refusal> {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    if text.contains("transfer-encoding: chunked") {
        return Ok(Framing::Chunked);
    }
    if let Some(at) = text.find("content-length: ") {
        return Ok(Framing::Length(
            text[at + 16..]
                .split("\r\n")
                .next()
                .unwrap()
                .parse()
                .unwrap(),
        ));
    }
    Ok(Framing::None)
}
