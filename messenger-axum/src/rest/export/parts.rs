use std::collections::VecDeque;

use bytes::Bytes;
use messenger_core::{Cursor, Result, queries::ExportMe};

use super::archive::Archive;
use crate::{client::Client, door::Door};

/// The parts of an export, compressed.
pub(super) struct Parts {
    door: Door,
    client: Client,
    token: String,
    archive: Archive,
    cursor: Option<Cursor>,
}

/// What one part comes to. It may be nothing: the compressor gathers some before it gives any.
pub(super) struct Step {
    pub(super) pieces: VecDeque<Bytes>,
    pub(super) is_last: bool,
}

impl Parts {
    pub(super) fn new(door: &Door, client: Client, token: &str) -> Result<Self> {
        let archive = Archive::begin()?;
        Ok(Self { door: door.clone(), client, token: token.to_owned(), archive, cursor: None })
    }

    /// Makes the next part, in a turn of its own and within the time of a request.
    pub(super) async fn step(&mut self) -> Result<Step> {
        let door = self.door.clone();
        let part = door.in_time(async {
            let _turn = door.admission.work.take(self.client, 0).await?;
            // Whoever has ended the session wants no more to be read with it.
            let actor = door.messenger.authenticate(&self.token).await?;
            door.messenger.query(&actor, ExportMe { cursor: self.cursor.clone() }).await
        });
        let part = part.await?;
        self.archive.add(&part)?;
        self.cursor = part.next_cursor;
        let is_last = self.cursor.is_none();
        if is_last {
            self.archive.finish()?;
        }
        Ok(Step { pieces: self.archive.take(), is_last })
    }
}
