//! The first record of each side; JSON text, whatever the protocol.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{json, malformed::Malformed, records::DELIMITER, text::write_text};

/// The client's choice of protocol.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request<'r> {
    pub(crate) protocol: Cow<'r, str>,
    pub(crate) version: i32,
}

/// Reads the record, without its delimiter.
pub(crate) fn read(record: &[u8]) -> Result<Request<'_>, Malformed> {
    #[derive(Deserialize)]
    struct Properties<'r> {
        #[serde(borrow, default, deserialize_with = "json::present")]
        protocol: Option<&'r RawValue>,
        #[serde(borrow, default, deserialize_with = "json::present")]
        version: Option<&'r RawValue>,
    }
    let properties: Properties<'_> = json::read_object(record)?;
    Ok(Request {
        protocol: json::text("protocol", properties.protocol)?.ok_or(Malformed::Missing("protocol"))?,
        version: json::required("version", properties.version)?,
    })
}

pub(crate) const fn accepted() -> Bytes {
    Bytes::from_static(b"{}\x1E")
}

pub(crate) fn refused(error: &str) -> Bytes {
    let mut out = Vec::with_capacity(16 + error.len());
    out.extend_from_slice(br#"{"error":"#);
    write_text(&mut out, error);
    out.extend_from_slice(&[b'}', DELIMITER]);
    out.into()
}
