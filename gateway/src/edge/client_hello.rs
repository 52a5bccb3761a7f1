//! stub
pub const MOST_BYTES: usize = 16 << 10;
pub enum Hello {
    Partial,
    Complete { length: usize },
}
#[derive(Debug, thiserror::Error)]
#[error("not tls")]
pub struct NotTls;
pub fn read(b: &[u8]) -> Result<Hello, NotTls> {
    if b.len() < 5 {
        return Ok(Hello::Partial);
    }
    if b[0] != 0x16 {
        return Err(NotTls);
    }
    let n = usize::from(b[3]) << 8 | usize::from(b[4]);
    Ok(if b.len() >= 5 + n {
        Hello::Complete { length: 5 + n }
    } else {
        Hello::Partial
    })
}
