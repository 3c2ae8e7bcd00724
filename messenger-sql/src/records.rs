//! Records that intents give rise to, the same on every engine.

use messenger_core::{
    ChatId, ChatKind, MessageKind, Revision, Seq, Timestamp, Title,
    ports::{Anchor, Changes, ChatRecord, MessageRecord, NewMessage, NewSystemMessage},
};

/// A chat with nobody in it and nothing said.
pub const fn new_chat(id: ChatId, kind: ChatKind, title: Option<Title>, created_at: Timestamp) -> ChatRecord {
    ChatRecord {
        id,
        kind,
        title,
        created_at,
        revision: Revision::ZERO,
        last_seq: Seq::ZERO,
        texts: 0,
        member_count: 0,
        roster_version: 1,
    }
}

/// A text that was given these numbers.
pub fn text_message(new: &NewMessage, seq: Seq, revision: Revision) -> MessageRecord {
    MessageRecord {
        id: new.id,
        chat: new.chat,
        seq,
        created_revision: revision,
        revision,
        kind: MessageKind::Text,
        sender: new.sender,
        body: Some(new.body.clone()),
        client_id: new.client_id.as_ref().map(|(name, _)| name.clone()),
        fingerprint: new.client_id.as_ref().map(|(_, fingerprint)| *fingerprint),
        reply_to: new.reply_to,
        created_at: new.created_at,
        edited_at: None,
        deleted_at: None,
    }
}

/// A system message with the next numbers of the chat, which are taken from it.
pub fn system_message(chat: &mut ChatRecord, new: NewSystemMessage) -> MessageRecord {
    chat.revision = chat.revision.next();
    chat.last_seq = chat.last_seq.next();
    MessageRecord {
        id: new.id,
        chat: chat.id,
        seq: chat.last_seq,
        created_revision: chat.revision,
        revision: chat.revision,
        kind: MessageKind::System,
        sender: new.sender,
        body: Some(new.note),
        client_id: None,
        fingerprint: None,
        reply_to: None,
        created_at: new.at,
        edited_at: None,
        deleted_at: None,
    }
}

/// Between which places a page of history is looked for, whatever the chat's last message is. A page that ends with
/// the last message, or before one, has no first place of its own: it begins so many messages before its end.
pub fn history_bounds(anchor: Anchor, limit: usize) -> (u64, u64) {
    match anchor {
        Anchor::Newest => (1, Seq::MAX.get()),
        Anchor::Before(seq) => (1, seq.get().saturating_sub(1)),
        // What lies behind the last message is not there to be found.
        Anchor::After(_) | Anchor::Around(_) => {
            anchor.range(Seq::MAX, limit).map_or((1, 0), |(low, high)| (low.get(), high.get()))
        }
    }
}

/// The first `limit` of the changes that were found, by revision.
pub fn in_order(mut changes: Changes, limit: usize) -> Changes {
    changes.messages.sort_unstable_by_key(|message| message.revision);
    changes.truncated = changes.messages.len() > limit;
    changes.messages.truncate(limit);
    changes
}

#[cfg(test)]
mod tests {
    use messenger_core::{Id, ports::Content};

    use super::*;

    #[test]
    fn a_page_is_looked_for_where_it_can_be() {
        let seq = Seq::new;
        for (anchor, limit, bounds) in [
            (Anchor::Newest, 10, (1, Seq::MAX.get())),
            (Anchor::Before(seq(5)), 10, (1, 4)),
            (Anchor::After(seq(3)), 10, (4, 13)),
            (Anchor::Around(seq(50)), 10, (45, 54)),
        ] {
            assert_eq!(history_bounds(anchor, limit), bounds, "{anchor:?}");
        }
        for nowhere in [history_bounds(Anchor::Before(seq(1)), 10), history_bounds(Anchor::After(seq(3)), 0)]
        {
            assert!(nowhere.0 > nowhere.1, "{nowhere:?}");
        }
    }

    #[test]
    fn changes_are_told_by_revision_and_whether_there_are_more() {
        let change = |revision| {
            let new = NewMessage {
                id: Id::from_bytes([1; 16]),
                chat: Id::from_bytes([2; 16]),
                sender: Id::from_bytes([3; 16]),
                body: Content(Vec::new()),
                client_id: None,
                reply_to: None,
                created_at: Timestamp::from_micros(0),
            };
            text_message(&new, Seq::new(1), Revision::new(revision))
        };
        for (limit, wanted, truncated) in
            [(2, &[4, 5][..], true), (3, &[4, 5, 6], false), (4, &[4, 5, 6], false)]
        {
            let messages = [6, 4, 5].map(change).into();
            let chat = new_chat(Id::from_bytes([2; 16]), ChatKind::Group, None, Timestamp::from_micros(0));
            let told = in_order(Changes { chat, messages, truncated: false }, limit);
            let revisions: Vec<u64> = told.messages.iter().map(|message| message.revision.get()).collect();
            assert_eq!((&revisions[..], told.truncated), (wanted, truncated), "{limit}");
        }
    }
}
