//! What is kept and what was purged; common to all engines.

use messenger_core::{
    RetentionPeriod, Revision, Seq, Timestamp,
    ports::{Hold, HoldSubject, MessageRecord, OverdueChat, PurgeRecord, StoreResult},
};

use crate::columns::{Columns, MESSAGE, Row, corrupt, integer};

/// The columns of `messenger_purges AS g`.
pub const PURGE: &str = "g.id, g.chat_id, g.purged_at, g.before_at, g.retention_secs, g.is_own, g.first_seq, g.last_seq, \
    g.messages";
/// The columns of `messenger_holds AS h`.
pub const HOLD: &str = "h.kind, h.id, h.reason, h.held_at";

/// The columns of a message `m` that is to become a tombstone: what it says is not read.
pub fn without_body() -> String {
    MESSAGE.replace("m.body", "NULL")
}

impl<R: Row + ?Sized> Columns<'_, R> {
    /// Reads a period in seconds, or NULL.
    pub fn retention(&mut self) -> StoreResult<Option<RetentionPeriod>> {
        let seconds = self.optional_number()?;
        seconds.map(|seconds| RetentionPeriod::from_secs(seconds).map_err(corrupt)).transpose()
    }

    /// Reads a chat that may have something overdue: its id, since when, and how long its messages are kept.
    pub fn overdue_chat(&mut self) -> StoreResult<OverdueChat> {
        Ok(OverdueChat { chat: self.id()?, since: self.time()?, retention: self.retention()? })
    }

    /// Reads the columns of [`HOLD`].
    pub fn hold(&mut self) -> StoreResult<Hold> {
        let (kind, id) = (self.integer()?, self.id::<()>()?);
        let subject = HoldSubject::of_parts(kind, *id.as_bytes());
        Ok(Hold {
            subject: subject.ok_or_else(|| corrupt("an unknown kind of hold"))?,
            reason: self.text()?.parse().map_err(corrupt)?,
            at: self.time()?,
        })
    }

    /// Reads the columns of [`PURGE`].
    pub fn purge(&mut self) -> StoreResult<PurgeRecord> {
        Ok(PurgeRecord {
            id: self.id()?,
            chat: self.id()?,
            at: self.time()?,
            before: self.time()?,
            retention: self.retention()?.ok_or_else(|| corrupt("a purge without a period"))?,
            is_own: self.flag()?,
            first: self.seq()?,
            last: self.seq()?,
            messages: self.number()?,
        })
    }
}

/// A period as it is stored.
pub fn stored(period: Option<RetentionPeriod>) -> Option<i64> {
    period.map(|period| integer(period.as_secs()))
}

/// What a look through the next messages of a chat has found.
#[derive(Debug, Default)]
pub struct Looked {
    /// What becomes a tombstone, as it is then.
    pub due: Vec<MessageRecord>,
    /// The last message that was looked at.
    pub up_to: Seq,
    /// From when the first message is that was not looked at, if the rest is not overdue.
    pub since: Option<Timestamp>,
}

/// Looks through the messages after `from`, of which at most `limit` were read, each with whether its sender is under a hold.
pub fn look(
    messages: Vec<(MessageRecord, bool)>,
    (from, limit): (Seq, usize),
    (before, now): (Timestamp, Timestamp),
    mut revision: Revision,
) -> Looked {
    let mut looked = Looked { due: vec![], up_to: from, since: (messages.len() < limit).then_some(now) };
    for (mut message, is_held) in messages {
        if message.created_at >= before {
            looked.since = Some(message.created_at);
            break;
        }
        looked.up_to = message.seq;
        if message.deleted_at.is_none() && !is_held {
            revision = revision.next();
            message.revision = revision;
            (message.body, message.fingerprint, message.deleted_at) = (None, None, Some(now));
            looked.due.push(message);
        }
    }
    looked
}

#[cfg(test)]
mod tests {
    use messenger_core::{
        Id,
        ports::{Content, NewMessage},
    };

    use super::*;
    use crate::records::text_message;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn message(seq: u64, sent: i64) -> (MessageRecord, bool) {
        let id = Id::from_bytes([1; 16]);
        let (body, created_at) = (Content::from("hello"), at(sent));
        let new = NewMessage {
            id,
            chat: Id::from_bytes([2; 16]),
            sender: Id::from_bytes([3; 16]),
            body,
            client_id: None,
            reply_to: None,
            created_at,
        };
        (text_message(&new, Seq::new(seq), Revision::new(seq)), false)
    }

    fn looked(
        messages: Vec<(MessageRecord, bool)>,
        limit: usize,
    ) -> (Vec<(u64, u64)>, u64, Option<Timestamp>) {
        let looked = look(messages, (Seq::new(4), limit), (at(100), at(200)), Revision::new(40));
        for due in &looked.due {
            assert_eq!((&due.body, due.fingerprint, due.deleted_at), (&None, None, Some(at(200))));
        }
        let due = looked.due.iter().map(|due| (due.seq.get(), due.revision.get()));
        (due.collect(), looked.up_to.get(), looked.since)
    }

    #[test]
    fn what_is_overdue_is_purged_up_to_the_first_that_is_not() {
        let old = || vec![message(5, 10), message(6, 99)];
        assert_eq!(looked(old(), 2), (vec![(5, 41), (6, 42)], 6, None), "there may be more");
        assert_eq!(looked(old(), 3), (vec![(5, 41), (6, 42)], 6, Some(at(200))), "there is no more");
        let new = [old(), vec![message(7, 100), message(8, 10)]].concat();
        assert_eq!(looked(new, 4), (vec![(5, 41), (6, 42)], 6, Some(at(100))));
        assert_eq!(looked(vec![], 4), (vec![], 4, Some(at(200))));
    }

    #[test]
    fn what_is_held_or_deleted_is_passed_over() {
        let mut messages = vec![message(5, 10), message(6, 11), message(7, 12)];
        messages[0].1 = true;
        messages[1].0.deleted_at = Some(at(20));
        assert_eq!(looked(messages, 3), (vec![(7, 41)], 7, None));
    }
}
