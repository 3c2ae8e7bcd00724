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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Actor, Messenger,
        domain::{Password, Role, Seq},
        messenger::Command,
        testing::{Scene, code},
    };

    /// What a command answers when nobody in particular asks.
    async fn asked_by_nobody<C: Command>(messenger: &Messenger, command: C) -> (&'static str, &'static str) {
        (C::NAME, code(&messenger.execute(&Actor::anonymous(), command).await))
    }

    #[tokio::test]
    async fn all_but_registering_and_logging_in_is_for_those_who_are_logged_in() {
        let scene = Scene::new().await;
        let (messenger, chat_id) = (&scene.messenger, scene.group);
        let (user_id, message_id) = (messenger.context().id(), messenger.context().id());
        let (seq, role, title, body) = (Seq::new(1), Role::Admin, String::from("Tea"), String::from("hello"));
        let password = Password::new("correct horse");
        let (current, new) = (password.clone(), password.clone());
        let send = SendMessage { chat_id, body: body.clone(), client_id: None, reply_to: None };
        let group = CreateGroupChat { title: title.clone(), member_ids: Vec::new(), client_id: None };
        let profile = UpdateProfile { display_name: None, email: None, notifications: None };
        let answers = [
            asked_by_nobody(messenger, LogOut {}).await,
            asked_by_nobody(messenger, RevokeSession { session_id: messenger.context().id() }).await,
            asked_by_nobody(messenger, ChangePassword { current, new }).await,
            asked_by_nobody(messenger, profile).await,
            asked_by_nobody(messenger, EraseMe { password }).await,
            asked_by_nobody(messenger, OpenDirectChat { user_id }).await,
            asked_by_nobody(messenger, group).await,
            asked_by_nobody(messenger, UpdateChat { chat_id, title }).await,
            asked_by_nobody(messenger, AddMembers { chat_id, user_ids: Vec::new() }).await,
            asked_by_nobody(messenger, RemoveMember { chat_id, user_id }).await,
            asked_by_nobody(messenger, LeaveChat { chat_id }).await,
            asked_by_nobody(messenger, SetRole { chat_id, user_id, role }).await,
            asked_by_nobody(messenger, SetMute { chat_id, until: None }).await,
            asked_by_nobody(messenger, send).await,
            asked_by_nobody(messenger, EditMessage { chat_id, message_id, body }).await,
            asked_by_nobody(messenger, DeleteMessage { chat_id, message_id }).await,
            asked_by_nobody(messenger, MarkRead { chat_id, seq }).await,
            asked_by_nobody(messenger, MarkDelivered { chat_id, seq }).await,
            asked_by_nobody(messenger, SetTyping { chat_id, typing: true }).await,
        ];
        for (name, answer) in answers {
            assert_eq!(answer, "unauthenticated", "{name}");
        }
        assert_eq!(scene.told().await, []);
    }
}
