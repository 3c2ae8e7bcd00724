//! The commands: one struct each, which implements its own handling.

mod attempts;
mod auth;
mod chats;
mod markers;
mod messages;
mod notices;
mod realtime;
mod users;

pub use auth::{
    ChangePassword, ConfirmEmail, LogIn, LogOut, RegisterUser, RequestEmailConfirmation,
    RequestPasswordReset, ResetPassword, RevokeSession,
};
pub use chats::{
    AddMembers, AddedMembers, CreateGroupChat, LeaveChat, OpenDirectChat, RemoveMember, SetMute,
    SetNotifications, SetRetention, SetRole, UpdateChat,
};
pub use markers::{MarkDelivered, MarkRead, Marks};
pub use messages::{DeleteMessage, EditMessage, SendMessage};
pub use realtime::SetTyping;
pub(crate) use users::{ERASE_USER, Listener, RETRIES, Remains, erase, finish_erasure, verified_end_of_mail};
pub use users::{EndMail, EraseMe, Erasure, UpdateProfile};

use crate::{
    convert,
    cx::Cx,
    domain::{Chat, ChatId, UserId},
    error::{Error, Result},
};

/// Reads a chat as one of its members sees it.
pub(crate) async fn view(cx: &Cx, chat: ChatId, user: UserId) -> Result<Chat> {
    let view =
        cx.store().chat_views(user, &[chat], convert::PREVIEW).await?.pop().ok_or(Error::NotFound("chat"))?;
    Ok(convert::chat(view))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Actor, Messenger,
        domain::{NotifyLevel, Password, Role, Seq},
        operation::Command,
        ports::{StoreErrorKind, Topic},
        testing::{
            Scene, State,
            Who::{self, *},
            code,
        },
    };

    /// The result of a command for an anonymous caller.
    async fn asked_by_nobody<C: Command>(messenger: &Messenger, command: C) -> (&'static str, &'static str) {
        (C::NAME, code(&messenger.execute(&Actor::anonymous(), command).await))
    }

    #[tokio::test]
    async fn all_but_registering_and_logging_in_is_for_those_who_are_logged_in() {
        let scene = Scene::new().await;
        let (messenger, chat_id) = (&scene.messenger, scene.group);
        let (user_id, message_id) = (messenger.service().context.id(), messenger.service().context.id());
        let (seq, role, title, body) = (Seq::new(1), Role::Admin, String::from("Tea"), String::from("hello"));
        let (password, level) = (Password::new("correct horse"), NotifyLevel::None);
        let (current, new) = (password.clone(), password.clone());
        let send = SendMessage { chat_id, body: body.clone(), client_id: None, reply_to: None };
        let group = CreateGroupChat { title: title.clone(), member_ids: Vec::new(), client_id: None };
        let profile = UpdateProfile::default();
        let answers = [
            asked_by_nobody(messenger, LogOut {}).await,
            asked_by_nobody(messenger, RevokeSession { session_id: messenger.service().context.id() }).await,
            asked_by_nobody(messenger, ChangePassword { current, new }).await,
            asked_by_nobody(messenger, profile).await,
            asked_by_nobody(messenger, RequestEmailConfirmation {}).await,
            asked_by_nobody(messenger, EraseMe { password }).await,
            asked_by_nobody(messenger, OpenDirectChat { user_id }).await,
            asked_by_nobody(messenger, group).await,
            asked_by_nobody(messenger, UpdateChat { chat_id, title }).await,
            asked_by_nobody(messenger, AddMembers { chat_id, user_ids: Vec::new() }).await,
            asked_by_nobody(messenger, RemoveMember { chat_id, user_id }).await,
            asked_by_nobody(messenger, LeaveChat { chat_id }).await,
            asked_by_nobody(messenger, SetRole { chat_id, user_id, role }).await,
            asked_by_nobody(messenger, SetMute { chat_id, until: None }).await,
            asked_by_nobody(messenger, SetNotifications { chat_id, level }).await,
            asked_by_nobody(messenger, SetRetention { chat_id, seconds: None }).await,
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

    /// What the other nodes are told to compare when the store's answer to a command's write is lost, so that the write
    /// may have been done.
    async fn unanswered<C: Command>(
        scene: &Scene,
        who: Who,
        method: &'static str,
        command: C,
    ) -> (&'static str, Vec<Vec<Topic>>) {
        scene.in_doubt().await;
        scene.store.fail(method, StoreErrorKind::Unavailable, 1);
        assert_eq!(code(&scene.execute(who, command).await), "unavailable", "{}", C::NAME);
        (C::NAME, scene.in_doubt().await)
    }

    #[tokio::test]
    async fn what_may_have_been_done_without_an_answer_is_for_the_others_to_look_up() {
        let scene = Scene::new().await;
        let message = scene.says(Member, "hello").await;
        let (chat_id, message_id, user_id) = (scene.group, message.id, scene.id(OtherMember));
        let user = |who| Topic::User(scene.id(who));
        let (me, group) = (user(Member), Topic::Chat(chat_id));
        let (role, title, body) = (Role::Admin, String::from("Coffee"), String::from("hi"));
        let password = Password::new("correct horse");
        let (current, new) = (password.clone(), password.clone());
        let login = LogIn { login: "member".into(), password: password.clone(), device: None };
        let add = AddMembers { chat_id, user_ids: scene.ids([Stranger, Left, Owner]) };
        let make = CreateGroupChat { title: title.clone(), member_ids: scene.ids([Left]), client_id: None };
        let send = SendMessage { chat_id, body: body.clone(), client_id: None, reply_to: None };
        let revoke = RevokeSession { session_id: scene.session(Member) };
        let open = OpenDirectChat { user_id };
        let (owner, member) = (Owner, Member);
        let cases = [
            (unanswered(&scene, member, "create_session", login).await, vec![me]),
            (unanswered(&scene, member, "end_session", LogOut {}).await, vec![me]),
            (unanswered(&scene, member, "end_session", revoke).await, vec![me]),
            (unanswered(&scene, member, "change_password", ChangePassword { current, new }).await, vec![me]),
            (unanswered(&scene, member, "open_direct", open).await, vec![me, user(OtherMember)]),
            (unanswered(&scene, member, "create_group", make).await, vec![me, user(Left)]),
            (unanswered(&scene, owner, "change_roster", add).await, vec![group, user(Stranger), user(Left)]),
            (
                unanswered(&scene, owner, "change_roster", RemoveMember { chat_id, user_id }).await,
                vec![group],
            ),
            (
                unanswered(&scene, owner, "change_roster", SetRole { chat_id, user_id, role }).await,
                vec![group],
            ),
            (unanswered(&scene, owner, "change_roster", UpdateChat { chat_id, title }).await, vec![group]),
            (unanswered(&scene, member, "change_roster", LeaveChat { chat_id }).await, vec![group]),
            (unanswered(&scene, member, "append_messages", send).await, vec![group]),
            (
                unanswered(&scene, member, "edit_message", EditMessage { chat_id, message_id, body }).await,
                vec![group],
            ),
            (
                unanswered(&scene, member, "delete_message", DeleteMessage { chat_id, message_id }).await,
                vec![group],
            ),
            (
                unanswered(&scene, member, "erase_user", EraseMe { password: password.clone() }).await,
                vec![me],
            ),
        ];
        for ((name, in_doubt), topics) in cases {
            assert_eq!(in_doubt, [topics], "{name}");
        }
        // What comes after the mark is broken off without a word to the caller, who is gone.
        scene.store.fail("erase_messages", StoreErrorKind::Unavailable, 1);
        scene.must(member, EraseMe { password }).await;
        assert_eq!(scene.in_doubt().await, [[group]]);
    }

    #[tokio::test]
    async fn what_is_no_change_that_others_see_is_nothing_to_look_up() {
        let scene = Scene::new().await;
        let seq = scene.says(Owner, "hello").await.seq;
        let (chat_id, level) = (scene.group, NotifyLevel::Mentions);
        let profile = UpdateProfile::default();
        for (name, in_doubt) in [
            unanswered(&scene, Member, "update_user", profile).await,
            unanswered(&scene, Member, "set_mute", SetMute { chat_id, until: None }).await,
            unanswered(&scene, Member, "set_notify_level", SetNotifications { chat_id, level }).await,
            unanswered(&scene, Member, "move_markers", MarkRead { chat_id, seq }).await,
            unanswered(&scene, Member, "membership", SetTyping { chat_id, typing: true }).await,
            // Nothing has been written before these reads.
            unanswered(&scene, Member, "roster", LeaveChat { chat_id }).await,
        ] {
            assert_eq!(in_doubt, [] as [Vec<Topic>; 0], "{name}");
        }
    }

    /// What the other nodes are told to compare when a command finds nothing left to do.
    async fn repeated<C: Command>(scene: &Scene, who: Who, command: C) -> (&'static str, Vec<Vec<Topic>>) {
        scene.in_doubt().await;
        scene.must(who, command).await;
        (C::NAME, scene.in_doubt().await)
    }

    #[tokio::test]
    async fn what_is_done_already_may_not_have_been_told() {
        let scene = Scene::new().await;
        let message_id = scene.text(Member, State::Deleted).await.id;
        let chat_id = scene.group;
        let send =
            SendMessage { chat_id, body: "hello".into(), client_id: Some("c-1".into()), reply_to: None };
        let make = CreateGroupChat {
            title: "Chess".into(),
            member_ids: scene.ids([Left]),
            client_id: Some("g-1".into()),
        };
        scene.must(Member, send.clone()).await;
        scene.must(Member, make.clone()).await;
        let user = |who| Topic::User(scene.id(who));
        let group = vec![Topic::Chat(chat_id)];
        let add = AddMembers { chat_id, user_ids: scene.ids([Member, Admin]) };
        let (user_id, role) = (scene.id(Admin), Role::Admin);
        let open = OpenDirectChat { user_id: scene.id(Owner) };
        let cases = [
            (repeated(&scene, Member, send).await, vec![group.clone()]),
            (repeated(&scene, Member, make).await, vec![vec![user(Member), user(Left)]]),
            (repeated(&scene, Member, open).await, vec![vec![user(Member), user(Owner)]]),
            (repeated(&scene, Owner, add).await, vec![group.clone(), vec![user(Member), user(Admin)]]),
            (repeated(&scene, Owner, SetRole { chat_id, user_id, role }).await, vec![group.clone()]),
            (repeated(&scene, Owner, UpdateChat { chat_id, title: "Tea".into() }).await, vec![group.clone()]),
            (repeated(&scene, Member, DeleteMessage { chat_id, message_id }).await, vec![group]),
        ];
        for ((name, in_doubt), topics) in cases {
            assert_eq!(in_doubt, topics, "{name}");
        }
    }
}
