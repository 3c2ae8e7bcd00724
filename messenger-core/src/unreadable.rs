/// Where JSON can't be read, and nothing of what stands there: serde's own errors quote it.
#[derive(Debug, thiserror::Error)]
#[error("this is not the JSON that is expected, at byte {byte} of line {line}")]
pub(crate) struct Unreadable {
    line: usize,
    byte: usize,
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self { line: error.line(), byte: error.column() }
    }
}
