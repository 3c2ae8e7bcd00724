//! What can be done: one struct for each command, which handles itself.

mod auth;
mod chats;
mod markers;
mod messages;
mod realtime;
mod users;

use std::sync::Arc;

pub use auth::{ChangePassword, LogIn, LogOut, RegisterUser, RevokeSession};
pub use chats::{
    AddMembers, Added, CreateGroupChat, LeaveChat, OpenDirectChat, RemoveMember, SetMute, SetRole, UpdateChat,
};
pub(crate) use markers::moved;
pub use markers::{MarkDelivered, MarkRead, Marks};
pub use messages::{DeleteMessage, EditMessage, SendMessage};
pub(crate) use messages::{in_doubt, stored};
pub use realtime::SetTyping;
pub use users::{EraseMe, UpdateProfile};

use crate::{
    domain::{Chat, ChatId, Event, SystemEvent, UserId},
    error::{Error, Result},
    messenger::Cx,
    ports::{BusMessage, Hint, Topic},
};

/// How often a command that others got ahead of is decided anew.
const ATTEMPTS: usize = 8;

/// An event of a chat, addressed to those whom it concerns.
pub(crate) fn told(chat: ChatId, event: Event) -> BusMessage {
    let mut topics = vec![Topic::Chat(chat)];
    if let Event::ChatUpdated(update) = &event
        && let Some(note) = &update.message.system
        && note.event == SystemEvent::MembersAdded
    {
        topics.extend(note.user_ids.iter().map(|user| Topic::User(*user)));
    }
    BusMessage { topics, hint: Arc::new(Hint::Event(event)) }
}

/// A chat as one of its members sees it.
pub(crate) async fn view(cx: &Cx, chat: ChatId, user: UserId) -> Result<Chat> {
    let view = cx.store().chat_views(user, &[chat]).await?.pop().ok_or(Error::NotFound("chat"))?;
    Ok(crate::convert::chat(view)?)
}
