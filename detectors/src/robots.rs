//! stub
#![allow(missing_docs)]
#[derive(Debug, Default)]
pub struct Robots {}
impl Robots { pub fn parse(_: &[u8]) -> Self { Self{} } }
pub fn with_disallow(t: &str, p: &str) -> String { format!("{t}\nUser-agent: *\nDisallow: {p}\n") }
