//! The chats of a person, one for each row.

use messenger_core::{
    ChatId,
    ports::{ChatHead, MemberChat, Memberships, StoreResult},
};

use crate::columns::{Columns, Row};

/// A row: how often the person was added to a chat; the sequence of commit numbers, or null if commits are not
/// numbered, and the settled commit; and one of their chats with its revision, its peer, its last commit and whether
/// they have left it, or nulls if they have none.
#[derive(Debug)]
pub struct Listed {
    count: u64,
    history: Option<u64>,
    settled: u64,
    chat: Option<Place>,
}

#[derive(Debug)]
enum Place {
    In(MemberChat),
    Left(ChatId),
}

impl Listed {
    /// Reads a row.
    pub fn read<R: Row + ?Sized>(columns: &mut Columns<'_, R>) -> StoreResult<Self> {
        let (count, history, settled) =
            (columns.number()?, columns.optional_integer()?.map(i64::cast_unsigned), columns.number()?);
        let Some(chat) = columns.optional_id()? else {
            return Ok(Self { count, history, settled, chat: None });
        };
        let head = ChatHead { chat, revision: columns.revision()?, peer: columns.optional_id()? };
        let commit = columns.number()?;
        let place = if columns.flag()? { Place::Left(chat) } else { Place::In(MemberChat { head, commit }) };
        Ok(Self { count, history, settled, chat: Some(place) })
    }
}

/// Combines the rows.
pub fn memberships(rows: Vec<Listed>) -> Memberships {
    let mut memberships = Memberships::default();
    if let Some(first) = rows.first() {
        (memberships.count, memberships.history, memberships.settled) =
            (first.count, first.history, first.settled);
    }
    for row in rows {
        match row.chat {
            Some(Place::In(chat)) => memberships.chats.push(chat),
            Some(Place::Left(chat)) => memberships.left.push(chat),
            None => {}
        }
    }
    memberships
}

/// The parameter for the commit after which a chat was left: one that is never reached, if chats that were left are not
/// requested.
pub fn left_after(commit: Option<u64>) -> i64 {
    commit.map_or(i64::MAX, |commit| i64::try_from(commit).unwrap_or(i64::MAX))
}
