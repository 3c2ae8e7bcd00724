use std::collections::BTreeSet;

use crate::{
    domain::{ChatId, MessageKind, Revision, Seq, UserId},
    ports::{Anchor, Budget, Changes, ChatView, MessageRecord, Store, StoreErrorKind},
};

/// More than any chat of the kit has.
const ALL: usize = 100_000;

/// Checks the invariants of a chat and of this person's membership, and returns its messages in the order of their
/// seqs.
///
/// Seqs are 1 to the last without gaps; no revision occurs twice, none is beyond the chat's, and the chat's revision is
/// that of its last change; what a person has read agrees with a count of the texts.
pub async fn check_chat(store: &dyn Store, chat: ChatId, user: UserId) -> Vec<MessageRecord> {
    // Writes may still be in progress, so the parts are read until they are consistent.
    for _ in 0..100 {
        let changes = store.changes(&[(chat, Revision::ZERO)], Budget::of_messages(ALL)).await.unwrap();
        let [changes] = &changes[..] else { panic!("the chat is there once") };
        let messages = check_messages(changes);
        let roster = store.roster(chat).await.unwrap();
        let views = store.chat_views(user, &[chat], usize::MAX).await.unwrap();
        let history = store.history(chat, user, Anchor::After(Seq::ZERO), Budget::of_messages(ALL)).await;
        let again = store.roster(chat).await.unwrap();
        if roster != again || again.chat != changes.chat {
            continue;
        }

        let people: BTreeSet<_> = roster.members.iter().map(|member| member.user_id).collect();
        assert_eq!(people.len(), roster.members.len(), "nobody is in a chat twice");
        assert_eq!(people.len(), roster.chat.member_count as usize, "members are counted");
        if let Some(view) = views.first() {
            check_view(view, changes, &messages);
            assert!(roster.members.contains(&view.me), "roster and view agree on a member");
            let history = history.unwrap();
            assert_eq!(history.messages, messages, "history and changes agree");
            assert_eq!(history.last_seq, changes.chat.last_seq);
        } else {
            assert!(!people.contains(&user), "a member sees the chat");
            assert_eq!(history.unwrap_err().kind(), StoreErrorKind::NotMember);
        }
        return messages;
    }
    panic!("the chat did not come to rest");
}

fn check_messages(Changes { chat, messages, truncated }: &Changes) -> Vec<MessageRecord> {
    assert!(!truncated, "all changes fit");
    assert!(messages.is_sorted_by(|a, b| a.revision < b.revision), "changes come by revision, each once");
    let newest = messages.last().map_or(Revision::ZERO, |message| message.revision);
    assert_eq!(newest, chat.revision, "the chat's revision is that of its last change");

    let mut messages = messages.clone();
    messages.sort_by_key(|message| message.seq);
    let seqs = messages.iter().map(|message| message.seq.get());
    assert!(seqs.eq(1..=chat.last_seq.get()), "seqs are 1 to the last, without gaps");
    assert!(
        messages.is_sorted_by(|a, b| a.created_revision < b.created_revision),
        "later is of a later change"
    );
    let texts = messages.iter().filter(|message| message.kind == MessageKind::Text).count();
    assert_eq!(texts as u64, chat.texts, "texts are counted");
    messages.iter().for_each(|message| check_message(chat.id, message));
    messages
}

fn check_message(chat: ChatId, message: &MessageRecord) {
    assert_eq!(message.chat, chat);
    let changed = message.edited_at.is_some() || message.deleted_at.is_some();
    if changed {
        assert!(message.created_revision < message.revision, "a change has a later revision");
    } else {
        assert_eq!(message.created_revision, message.revision, "nothing but a change has a revision");
    }
    assert_eq!(message.body.is_none(), message.deleted_at.is_some(), "a tombstone alone has no text");
    let named = message.client_id.is_some() && message.deleted_at.is_none();
    assert_eq!(message.fingerprint.is_some(), named, "the fingerprint goes with the text");
    if message.kind == MessageKind::System {
        assert!(message.client_id.is_none() && message.reply_to.is_none());
    }
}

fn check_view(view: &ChatView, changes: &Changes, messages: &[MessageRecord]) {
    assert_eq!(view.chat, changes.chat);
    assert_eq!(view.last_message.as_ref(), messages.last(), "the last message is the one at the last place");
    let me = &view.me;
    assert!(me.read_seq <= me.delivered_seq, "what is read was delivered");
    assert!(me.delivered_seq <= view.chat.last_seq, "no mark is beyond the last message");
    let read = messages.iter().filter(|m| m.kind == MessageKind::Text && m.seq <= me.read_seq).count();
    assert_eq!(read as u64, me.read_texts, "the texts up to the read mark are counted");
}
