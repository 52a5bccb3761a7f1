//! stub
use crate::exchange::RequestId;
pub fn refusal(status: u16, _: &RequestId) -> bytes::Bytes {
    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").into()
}
