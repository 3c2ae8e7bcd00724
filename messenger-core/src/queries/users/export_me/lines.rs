use serde::Serialize;

use crate::{
    error::{Error, Result},
    ports::Content,
};

/// JSON Lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) text: String,
    pub(super) count: u64,
}

impl Lines {
    pub(super) fn push(&mut self, line: &impl Serialize) -> Result<()> {
        self.text.push_str(&serde_json::to_string(line).map_err(Error::internal)?);
        self.text.push('\n');
        self.count += 1;
        Ok(())
    }
}

/// The text, if it can be read; otherwise its name is among what can't.
pub(super) fn readable<'c>(
    content: Option<&'c Content>,
    name: &'static str,
    corrupt: &mut Vec<&'static str>,
) -> Option<&'c str> {
    let read = content?.to_text().ok();
    if read.is_none() {
        corrupt.push(name);
    }
    read
}
