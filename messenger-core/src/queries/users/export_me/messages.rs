//! What the person wrote, and what chats have recorded of them.

use super::{
    chats,
    lines::Lines,
    place::{Place, Reached},
};
use crate::{
    convert,
    cx::Cx,
    domain::{Message, MessageKind, UserId},
    error::Result,
    ports::{Budget, MessageRecord},
};

/// How many messages of one chat are read for a part.
const MESSAGES: usize = 1000;

/// Chats are read by their changes, because those who have left may still do that of their own messages.
pub(super) async fn messages(
    cx: &Cx,
    user: UserId,
    reached: Option<Reached>,
    lines: &mut Lines,
) -> Result<Option<Place>> {
    let is_left = |chat| reached.is_none_or(|reached| reached.leaves(chat));
    let (chats, more) = chats::some(cx, user, is_left).await?;
    let since: Vec<_> = chats.iter().map(|&chat| (chat, Reached::since(reached, chat))).collect();
    let budget = Budget { messages: MESSAGES, bytes: cx.limits().page.bytes() };
    let mut changes = cx.store().changes(&since, budget).await?;
    changes.sort_unstable_by_key(|changes| changes.chat.id);
    for changes in changes {
        let chat = changes.chat.id;
        let last = changes.messages.last().map_or(Reached::since(reached, chat), |last| last.revision);
        for message in changes.messages.into_iter().filter_map(|record| of(user, record)) {
            lines.push(&message)?;
        }
        // The chats behind it are read again: their lines come in order, each once.
        if changes.truncated {
            return Ok(Some(Place::Messages(Some(Reached { chat, revision: Some(last) }))));
        }
    }
    let done = chats.last().map(|&chat| Reached { chat, revision: None });
    Ok(Some(if more { Place::Messages(done) } else { Place::Mails }))
}

/// The message as the person may have it: their own whole, and of what others did to them who did it.
fn of(user: UserId, record: MessageRecord) -> Option<Message> {
    if record.sender == user {
        return Some(convert::message(record));
    }
    // The texts of others are not even looked at.
    let message = (record.kind == MessageKind::System).then(|| convert::message(record))?;
    let mut note = message.system.clone()?;
    if !note.user_ids.contains(&user) {
        return None;
    }
    note.user_ids.retain(|id| *id == user);
    Some(Message { system: Some(note), ..message })
}
