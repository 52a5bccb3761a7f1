//! Files that are no text: what such a file begins with, then noise, as compressed data looks.

use crate::deception::page::Draft;

/// One piece of a file that begins with `magic`.
pub(crate) fn piece(draft: &mut Draft<'_>, magic: &[u8]) -> Vec<u8> {
    if draft.number() == 0 {
        return magic.to_vec();
    }
    let random = draft.random();
    (0..8).flat_map(|_| random.draw().to_le_bytes()).collect()
}

pub(crate) const BZIP2: &[u8] = b"BZh91AY&SY";
pub(crate) const GIF: &[u8] = b"GIF89a\x20\x03\x58\x02\xf7\x00\x00";
/// No name, no time, made on Unix (RFC 1952 section 2.3).
pub(crate) const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03";
/// One image of 32 by 32 points, 4 bytes a point.
pub(crate) const ICON: &[u8] =
    b"\x00\x00\x01\x00\x01\x00\x20\x20\x00\x00\x01\x00\x20\x00\xa8\x10\x00\x00\x16\x00\x00\x00";
/// JFIF header, then the start of a quantisation table.
pub(crate) const JPEG: &[u8] =
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x48\x00\x48\x00\x00\xff\xdb\x00\x43\x00";
/// An empty ID3 tag, then the first frame header.
pub(crate) const MP3: &[u8] = b"ID3\x04\x00\x00\x00\x00\x00\x00\xff\xfb\x90\x64";
/// A media box of size 0 goes on to the end of the file (ISO/IEC 14496-12 section 4.2).
pub(crate) const MP4: &[u8] =
    b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41\x00\x00\x00\x00mdat";
pub(crate) const OGG: &[u8] = b"OggS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00";
pub(crate) const PDF: &[u8] = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n\
    << /Length 73148126 /Filter /FlateDecode >>\nstream\n";
/// An image of 1600 by 1200 points in 24-bit colour, then the start of its data.
pub(crate) const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x06\x40\x00\x00\x04\xb0\
    \x08\x02\x00\x00\x00\x2c\x63\x11\xc0\x01\x00\x00\x00IDAT\x78\x9c";
pub(crate) const SEVEN_ZIP: &[u8] = b"7z\xbc\xaf\x27\x1c\x00\x04";
pub(crate) const SQLITE: &[u8] =
    b"SQLite format 3\x00\x10\x00\x01\x01\x00\x40\x20\x20\x00\x00\x01\x07\x00\x00\x4e\x20";
/// An EBML header that names the document type.
pub(crate) const WEBM: &[u8] = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\
    \x04\x42\xf3\x81\x08\x42\x82\x84webm\x42\x87\x81\x04\x42\x85\x81\x02\x18\x53\x80\x67";
pub(crate) const WEBP: &[u8] = b"RIFF\x24\x10\x4b\x00WEBPVP8 \x18\x10\x4b\x00";
pub(crate) const WOFF2: &[u8] = b"wOF2\x00\x01\x00\x00";
/// A deflated entry whose length follows it (APPNOTE section 4.4.4, bit 3).
pub(crate) const ZIP: &[u8] = b"PK\x03\x04\x14\x00\x08\x00\x08\x00\x00\x00\x21\x50\
    \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00data.csv";
