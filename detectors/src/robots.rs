//! robots.txt (RFC 9309), parsed once.

/// The rules of one robots.txt.
#[derive(Debug, Default)]
pub struct Robots {}
impl Robots {
    /// Parses.
    pub fn parse(_: &[u8]) -> Self {
        Self {}
    }
}
