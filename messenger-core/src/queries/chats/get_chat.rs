use serde::Deserialize;

use crate::{
    commands::view,
    cx::Cx,
    domain::{Chat, ChatId},
    error::{ErrorCode, Result},
    operation::Query,
};

/// Reads one of the caller's chats.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::queries::GetChat;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let eve = messenger_core::doc::register(&messenger, "eve").await;
/// # let chat_id = messenger_core::doc::direct(&messenger, &ada, &bob).await;
/// # messenger_core::doc::say(&messenger, &ada, chat_id, "hi").await;
/// let chat = messenger.query(&bob, GetChat { chat_id }).await?;
/// assert_eq!(chat.me.unread, 1);
/// assert_eq!(chat.last_message.unwrap().body.unwrap().as_str(), "hi");
///
/// // Who is no member is not told that there is such a chat.
/// assert_eq!(messenger.query(&eve, GetChat { chat_id }).await.unwrap_err().code(), "notFound");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetChat {
    /// The chat.
    pub chat_id: ChatId,
}

impl Query for GetChat {
    type Output = Chat;
    const NAME: &'static str = "GetChat";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound];

    async fn run(self, cx: &Cx) -> Result<Chat> {
        view(cx, self.chat_id, cx.actor().user()?).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        commands::{MarkRead, SetMute},
        domain::{ChatKind, MyMembership, NotifyLevel, Role, Seq, Title},
        testing::{Scene, Who::*},
    };

    #[tokio::test]
    async fn a_group_is_shown_as_each_member_sees_it() {
        let scene = Scene::new().await;
        let chat_id = scene.group;
        let first = scene.says(Owner, "hello").await;
        let last = scene.says(Owner, "and more").await;
        let until = scene.messenger.service().context.now().after(Duration::from_secs(60));
        scene.must(Admin, MarkRead { chat_id, seq: first.seq }).await;
        scene.must(Admin, SetMute { chat_id, until: Some(until) }).await;
        let joined = Seq::new(1);
        let cases = [
            (Owner, Role::Owner, last.seq, 0, None),
            (Admin, Role::Admin, first.seq, 1, Some(until)),
            // A member from the beginning, who has read nothing.
            (Member, Role::Member, Seq::ZERO, 2, None),
            // A member added later, who had nothing unread at that time.
            (OtherMember, Role::Member, joined.next().next(), 2, None),
        ];
        for (who, role, read_seq, unread, muted_until) in cases {
            let chat = scene.ask(who, GetChat { chat_id }).await;
            let notifications = NotifyLevel::All;
            let me = MyMembership { role, read_seq, unread, muted_until, notifications };
            assert_eq!(chat.me, me, "{who:?}");
            assert_eq!((chat.kind, chat.title), (ChatKind::Group, Some(Title::trusted("Tea"))));
            assert_eq!((chat.member_count, chat.peer), (5, None));
            assert_eq!((chat.revision, chat.last_seq), (last.revision, last.seq));
            assert_eq!(chat.last_message, Some(last.clone()));
        }
    }

    #[tokio::test]
    async fn a_direct_chat_shows_the_other_one() {
        let scene = Scene::new().await;
        for (who, other) in [(Owner, Member), (Member, Owner)] {
            let chat = scene.ask(who, GetChat { chat_id: scene.direct }).await;
            assert_eq!(chat.peer.unwrap().id, scene.id(other));
            assert_eq!((chat.kind, chat.me.role), (ChatKind::Direct, Role::Member));
            assert_eq!((chat.title, chat.last_message, chat.member_count), (None, None, 2));
        }
    }
}
