//! Builds the records that intents create; common to all engines.

use messenger_core::{
    ChatId, ChatKind, MessageKind, Revision, Seq, Timestamp,
    ports::{Anchor, Budget, Changes, ChatRecord, Content, MessageRecord, NewMessage, NewSystemMessage},
};

/// A chat without members and messages.
pub const fn new_chat(
    id: ChatId,
    kind: ChatKind,
    title: Option<Content>,
    created_at: Timestamp,
) -> ChatRecord {
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

/// A text message with these numbers.
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

/// A system message with the next seq and revision of the chat, which it advances.
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

/// The range of places of a page of history, whatever the chat's last message is. A page that ends with the last
/// message, or before one, has no fixed first place: it begins `limit` messages before its end.
pub fn history_bounds(anchor: Anchor, limit: usize) -> (u64, u64) {
    match anchor {
        Anchor::Newest => (1, Seq::MAX.get()),
        Anchor::Before(seq) => (1, seq.get().saturating_sub(1)),
        // Places beyond the last message do not exist, so they are not found.
        Anchor::After(_) | Anchor::Around(_) => {
            anchor.range(Seq::MAX, limit).map_or((1, 0), |(low, high)| (low.get(), high.get()))
        }
    }
}

/// Selects the changes that fit into the budget, by revision; each chat comes with the revision that was asked for.
/// What an engine has found beyond that is dropped here, so that all engines return the same.
pub fn within(mut found: Vec<(Changes, Revision)>, budget: Budget) -> Vec<Changes> {
    found.sort_by_key(|(changes, _)| changes.chat.id);
    // The weight taken so far; `None` after a message that was too heavy.
    let mut weight = Some(0);
    let mut fits = |message: &MessageRecord| {
        let before = weight.filter(|before| budget.admits(*before, message));
        weight = before.map(|before| before + message.weight());
        weight.is_some()
    };
    let fit = |(mut changes, since): (Changes, Revision)| {
        let messages = &mut changes.messages;
        messages.sort_unstable_by_key(|message| message.revision);
        messages.truncate(budget.messages);
        messages.truncate(messages.iter().take_while(|message| fits(message)).count());
        // Every revision is, or was, the last change of a message.
        let last = messages.last().map_or(since, |message| message.revision);
        changes.truncated = last < changes.chat.revision;
        changes
    };
    found.into_iter().map(fit).collect()
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

    /// A chat with a message for each of these revisions, with bodies of the given sizes; the last revision is the
    /// chat's own.
    fn changes(chat: u8, messages: &[(u64, usize)]) -> Changes {
        let id = Id::from_bytes([chat; 16]);
        let change = |(revision, body): &(u64, usize)| {
            let new = NewMessage {
                id: Id::from_bytes([1; 16]),
                chat: id,
                sender: Id::from_bytes([3; 16]),
                body: Content(vec![0; *body]),
                client_id: None,
                reply_to: None,
                created_at: Timestamp::from_micros(0),
            };
            text_message(&new, Seq::new(1), Revision::new(*revision))
        };
        let mut chat = new_chat(id, ChatKind::Group, None, Timestamp::from_micros(0));
        chat.revision =
            Revision::new(messages.iter().map(|(revision, _)| *revision).max().unwrap_or_default());
        Changes { chat, messages: messages.iter().map(change).collect(), truncated: false }
    }

    fn told(found: Vec<(Changes, Revision)>, budget: Budget) -> Vec<(Vec<u64>, bool)> {
        let revisions = |changes: &Changes| changes.messages.iter().map(|m| m.revision.get()).collect();
        within(found, budget).iter().map(|changes| (revisions(changes), changes.truncated)).collect()
    }

    #[test]
    fn changes_are_told_by_revision_and_whether_there_are_more() {
        for (limit, wanted, truncated) in
            [(0, &[][..], true), (2, &[4, 5], true), (3, &[4, 5, 6], false), (4, &[4, 5, 6], false)]
        {
            let found = vec![(changes(2, &[(6, 0), (4, 0), (5, 0)]), Revision::new(3))];
            assert_eq!(told(found, Budget::of_messages(limit)), [(wanted.to_vec(), truncated)], "{limit}");
        }
        let nothing = vec![(changes(2, &[]), Revision::ZERO)];
        assert_eq!(told(nothing, Budget::of_messages(0)), [(vec![], false)]);
    }

    #[test]
    fn changes_are_weighed_over_all_chats_and_nothing_comes_after_what_is_too_heavy() {
        let body = 1000 - MessageRecord::BASE_WEIGHT;
        for (bytes, first, second, third) in [
            (0, &[1][..], &[][..], &[][..]),
            (1000, &[1], &[], &[]),
            (1999, &[1], &[], &[]),
            (2000, &[1, 2], &[], &[]),
            // A message that is too heavy excludes later ones that would fit.
            (4000, &[1, 2], &[], &[]),
            (12_000, &[1, 2], &[1], &[]),
            (12_999, &[1, 2], &[1], &[]),
            (13_000, &[1, 2], &[1], &[1]),
        ] {
            // In the order of the ids, whatever the order in which they were found.
            let found = vec![
                (changes(9, &[(1, body)]), Revision::ZERO),
                (changes(2, &[(2, body), (1, body)]), Revision::ZERO),
                (changes(5, &[(1, 9000 + body)]), Revision::ZERO),
            ];
            let expected = [
                (first.to_vec(), first.len() < 2),
                (second.to_vec(), second.is_empty()),
                (third.to_vec(), third.is_empty()),
            ];
            assert_eq!(told(found, Budget { messages: 10, bytes }), expected, "{bytes}");
        }
    }
}
