mod mark_delivered;
mod mark_read;

pub use mark_delivered::MarkDelivered;
pub use mark_read::MarkRead;
use serde::Serialize;

use crate::{
    cx::Cx,
    domain::{ChatId, Seq},
    error::Result,
    ports::MoveMarker,
};

/// The caller's marks in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Marks {
    /// Everything up to here is read.
    pub read_seq: Seq,
    /// Text messages after the read mark.
    pub unread: u64,
}

async fn move_mark(cx: &Cx, chat: ChatId, seq: Seq, read: bool) -> Result<Marks> {
    let user = cx.actor().user()?;
    let placed = cx.marks().place(chat, MoveMarker { chat, user, seq, read }).await?;
    cx.placed();
    let marks = placed.answer().await?;
    Ok(Marks { read_seq: marks.read_seq, unread: marks.unread })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::oneshot, time::timeout};

    use super::*;
    use crate::{
        begun::Begun,
        domain::{Event, Limits, MarkMove, UserId},
        ports::StoreErrorKind,
        queries::ListMembers,
        testing::{
            Scene, Setup, Told,
            Who::{self, *},
            code,
        },
    };

    /// A group with this many texts after its system messages, and the seqs of the first and the last text.
    async fn with_texts(setup: Setup, texts: u64) -> (Scene, Seq, Seq) {
        let scene = Scene::with(setup).await;
        let first = scene.says(Owner, "hello").await.seq;
        let mut last = first;
        for _ in 1..texts {
            last = scene.says(Owner, "and more").await.seq;
        }
        scene.told().await;
        (scene, first, last)
    }

    async fn marks(scene: &Scene, who: Who) -> (Seq, Seq) {
        let list = ListMembers { chat_id: scene.group, limit: None, cursor: None };
        let members = scene.ask(Owner, list).await.items;
        let member = members.iter().find(|member| member.user.id == scene.id(who)).unwrap();
        (member.read_seq, member.delivered_seq)
    }

    fn mark(chat_id: ChatId, user_id: UserId, seq: Seq) -> MarkMove {
        MarkMove { chat_id, user_id, seq }
    }

    #[tokio::test]
    async fn a_read_mark_moves_forward_only_and_not_beyond_the_last_message() {
        let (scene, first, last) = with_texts(Setup::default(), 4).await;
        let chat_id = scene.group;
        let (before, second) = (Seq::new(first.get() - 1), first.next());
        let cases = [
            (second, second, 2, true),
            (first, second, 2, false),
            (second, second, 2, false),
            (Seq::ZERO, second, 2, false),
            (last.next(), last, 0, true),
            (Seq::MAX, last, 0, false),
            (before, last, 0, false),
        ];
        for (seq, read_seq, unread, is_told) in cases {
            let answer = scene.must(Member, MarkRead { chat_id, seq }).await;
            assert_eq!(answer, Marks { read_seq, unread }, "{seq}");
            assert_eq!(marks(&scene, Member).await, (read_seq, read_seq), "read is delivered: {seq}");
            let told = Event::ReadMoved(mark(chat_id, scene.id(Member), read_seq));
            let told = [Told::in_chat(chat_id, told)];
            assert_eq!(scene.told().await, told[..usize::from(is_told)], "{seq}");
        }
        assert_eq!(scene.chat(OtherMember, chat_id).await.me.unread, 4, "marks are one's own");
    }

    #[tokio::test]
    async fn a_delivered_mark_moves_alone() {
        let (scene, first, last) = with_texts(Setup::default(), 3).await;
        let chat_id = scene.group;
        let before = marks(&scene, Member).await.0;
        for (seq, delivered, is_told) in [(first, first, true), (Seq::MAX, last, true), (first, last, false)]
        {
            let answer = scene.must(Member, MarkDelivered { chat_id, seq }).await;
            assert_eq!(answer, Marks { read_seq: before, unread: 3 }, "{seq}");
            assert_eq!(marks(&scene, Member).await, (before, delivered), "{seq}");
            let told = Event::DeliveredMoved(mark(chat_id, scene.id(Member), delivered));
            let told = [Told::in_chat(chat_id, told)];
            assert_eq!(scene.told().await, told[..usize::from(is_told)], "{seq}");
        }
        // The read mark is behind the delivered mark, and moves all the same.
        scene.must(Member, MarkRead { chat_id, seq: first }).await;
        assert_eq!(marks(&scene, Member).await, (first, last));
        let told = Event::ReadMoved(mark(chat_id, scene.id(Member), first));
        assert_eq!(scene.told().await, [Told::in_chat(chat_id, told)]);
    }

    #[tokio::test]
    async fn of_a_large_chat_only_ones_own_devices_are_told() {
        // The group has five members.
        for (ephemeral_members, for_all) in [(5, true), (4, false)] {
            let limits = Limits { ephemeral_members, ..Limits::default() };
            let (scene, seq, _) = with_texts(Setup { limits, ..Setup::default() }, 1).await;
            let (chat_id, member) = (scene.group, scene.id(Member));
            scene.must(Member, MarkDelivered { chat_id, seq }).await;
            scene.must(Member, MarkRead { chat_id, seq }).await;
            let mark = mark(chat_id, member, seq);
            let told = [Event::DeliveredMoved(mark), Event::ReadMoved(mark)].map(|event| match for_all {
                true => Told::in_chat(chat_id, event),
                false => Told::to_oneself(member, event),
            });
            assert_eq!(scene.told().await, told, "{ephemeral_members}");
        }
    }

    #[tokio::test]
    async fn to_those_who_are_not_in_it_there_is_no_such_chat() {
        let (scene, seq, _) = with_texts(Setup::default(), 1).await;
        let chat_id = scene.group;
        for who in [Left, Removed, Erased, Stranger, Nobody] {
            assert_eq!(code(&scene.execute(who, MarkRead { chat_id, seq }).await), "notFound", "{who:?}");
            let delivered = scene.execute(who, MarkDelivered { chat_id, seq }).await;
            assert_eq!(code(&delivered), "notFound", "{who:?}");
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn its_place_is_taken_before_it_is_stored() {
        let (scene, seq, _) = with_texts(Setup::default(), 1).await;
        let (placed, seen) = oneshot::channel();
        scene.store.meanwhile("move_markers", async move {
            let _ = seen.await;
        });
        let read = MarkRead { chat_id: scene.group, seq };
        let actor = scene.actor(Member);
        let begun = scene.messenger.begin(&actor, read);
        let begun = timeout(Duration::from_secs(60), begun).await.expect("it is begun before it is stored");
        assert!(matches!(begun, Begun::UnderWay(_)));
        placed.send(()).unwrap();
        begun.answer().await.unwrap();
    }

    #[tokio::test]
    async fn a_mark_that_was_not_stored_is_told_to_nobody() {
        let (scene, seq, _) = with_texts(Setup::default(), 1).await;
        scene.store.fail("move_markers", StoreErrorKind::Unavailable, 1);
        let answer = scene.execute(Member, MarkRead { chat_id: scene.group, seq }).await;
        assert_eq!(code(&answer), "unavailable");
        assert_eq!(scene.told().await, []);
    }
}
