//! Everything that is held about a person, part by part.

mod account;
mod chats;
mod lines;
mod mails;
mod messages;
mod part;
mod place;
#[cfg(test)]
mod tests;

use serde::Deserialize;

pub use self::part::{ExportFile, ExportPart};
use self::{lines::Lines, place::Place};
use crate::{
    cx::Cx,
    domain::{Cursor, UserId},
    error::{Error, ErrorCode, Result},
    operation::Query,
    queries::place,
};

/// Reads everything that is held about the caller, part by part.
///
/// A part has lines of one [file](ExportFile), at most as many messages are read for it as fit on a [page](crate::PageLimits)
/// in bytes, and it may have no line at all: whoever wants everything goes on until there is no `nextCursor`. Files come in the order of
/// [`ExportFile::ALL`]. What others wrote is left out. A value in the store that can't be read is said to be `corrupt`, and the rest
/// follows.
///
/// What is stored before the first part is read is in one of the parts, except what has been removed meanwhile; a message that was
/// changed meanwhile may be in two of them.
///
/// Over REST this is one download, and sockets don't have it. Errors: `invalid`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::queries::{ExportFile, ExportMe};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// let mut cursor = None;
/// loop {
///     let part = messenger.query(&ada, ExportMe { cursor }).await?;
///     if part.file == ExportFile::Profile {
///         assert!(part.lines.contains("ada@example.org"));
///     }
///     cursor = part.next_cursor;
///     if cursor.is_none() {
///         break;
///     }
/// }
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportMe {
    /// The `nextCursor` of the part before.
    pub cursor: Option<Cursor>,
}

impl Query for ExportMe {
    type Output = ExportPart;
    const NAME: &'static str = "ExportMe";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound, ErrorCode::Invalid];

    async fn run(self, cx: &Cx) -> Result<ExportPart> {
        part_of(cx, cx.actor().user()?, self.cursor.as_ref()).await
    }
}

/// The part of what is held about this person that begins at the cursor.
pub(crate) async fn part_of(cx: &Cx, user: UserId, cursor: Option<&Cursor>) -> Result<ExportPart> {
    let place = place(cursor)?.unwrap_or(Place::Profile);
    // Before each part: nothing is read any more of somebody who is erased meanwhile.
    let account = cx.store().user(user).await?;
    if account.erased_at.is_some() {
        return Err(Error::Unauthenticated);
    }
    let mut lines = Lines::default();
    let next = match place {
        Place::Profile => account::profile(&account, &mut lines)?,
        Place::Sessions => account::sessions(cx, user, &mut lines).await?,
        Place::Chats(after) => chats::chats(cx, user, after, &mut lines).await?,
        Place::Marks(after) => chats::marks(cx, user, after, &mut lines).await?,
        Place::Messages(reached) => messages::messages(cx, user, reached, &mut lines).await?,
        Place::Mails => mails::known(cx, &account, &mut lines).await?,
        Place::Sent(kind, before) => mails::sent(cx, &account, (kind, before), &mut lines).await?,
    };
    let Lines { text, count } = lines;
    Ok(ExportPart { file: place.file(), lines: text, count, next_cursor: next.map(|next| Cursor::of(&next)) })
}
