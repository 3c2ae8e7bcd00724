//! Appends a batch of messages: which numbers they get, and in which order messages are appended that depend on each
//! other.

use std::collections::{BTreeMap, HashMap, HashSet};

use messenger_core::{
    ChatId, MessageId, Revision, Seq, UserId,
    ports::{Appended, MessageRecord, NewMessage, StoreErrorKind, StoreResult, Unique},
};

use crate::{
    columns::{Columns, Row},
    records::text_message,
};

/// An answer for each message of a batch, in order.
pub type Answers = Vec<StoreResult<Appended>>;

/// The numbers of a chat before the batch: the seq and the revision.
pub type Base = (i64, i64);

/// The numbers that the messages get, relative to those of their chats.
#[derive(Debug, Default)]
pub struct Plan {
    /// Ordered by id: they are locked in this order.
    pub heads: Vec<ChatId>,
    /// For each head: the number of its new messages.
    pub counts: Vec<i64>,
    /// For each head: when its last new message was sent, in microseconds since 1970.
    pub activities: Vec<i64>,
    /// For each message: the index of its head, from 1.
    pub places: Vec<i32>,
    /// For each message: its ordinal among its head's new messages, from 1.
    pub nths: Vec<i64>,
    /// The senders to each head, with their last message, by head and id: their marks are moved in this order.
    pub members: BTreeMap<(i32, UserId), i64>,
}

impl Plan {
    /// `None` if a message repeats another one of the batch: then more has to be known.
    pub fn of(sent: &[NewMessage]) -> Option<Self> {
        let mut ids = HashSet::new();
        let mut names = HashSet::new();
        for new in sent {
            let name = new.client_id.as_ref().map(|(name, _)| (new.sender, name.as_str()));
            if !ids.insert(new.id) || name.is_some_and(|name| !names.insert(name)) {
                return None;
            }
        }
        Some(Self::of_any(sent))
    }

    /// Also if a message repeats another one: the numbers are then not those that the messages get.
    pub fn of_any(sent: &[NewMessage]) -> Self {
        let mut plan = Self { heads: sent.iter().map(|new| new.chat).collect(), ..Self::default() };
        plan.heads.sort_unstable();
        plan.heads.dedup();
        plan.counts = vec![0; plan.heads.len()];
        plan.activities = vec![0; plan.heads.len()];
        for new in sent {
            let head = plan.heads.partition_point(|head| *head < new.chat);
            plan.counts[head] += 1;
            plan.activities[head] = new.created_at.as_micros();
            let place = i32::try_from(head + 1).unwrap_or(i32::MAX);
            plan.places.push(place);
            plan.nths.push(plan.counts[head]);
            plan.members.insert((place, new.sender), plan.counts[head]);
        }
        plan
    }

    /// The answers once all messages are stored; `bases` are the numbers of the heads before.
    pub fn answers(&self, sent: &[NewMessage], bases: &[Base]) -> StoreResult<Answers> {
        let places = self.places.iter().zip(&self.nths);
        let answers = sent.iter().zip(places).map(|(new, (place, nth))| {
            let head = usize::try_from(*place).ok().and_then(|place| place.checked_sub(1));
            let (seq, revision) = head.and_then(|head| bases.get(head)).ok_or(StoreErrorKind::Corrupt)?;
            let number = |base: &i64| u64::try_from(base + nth).map_err(|_| StoreErrorKind::Corrupt);
            let (seq, revision) = (Seq::new(number(seq)?), Revision::new(number(revision)?));
            Ok(Ok(Appended::New(text_message(new, seq, revision))))
        });
        answers.collect()
    }
}

/// Appends as much of a batch as possible; messages that depend on each other one after the other.
///
/// In each round the messages of [`next_round`](Self::next_round) are appended, and the answers are passed to
/// [`take`](Self::take).
#[derive(Debug)]
pub struct Rounds<'b> {
    batch: &'b [NewMessage],
    answers: Vec<Option<StoreResult<Appended>>>,
    round: Round,
}

impl<'b> Rounds<'b> {
    /// Nothing of the batch is answered yet.
    pub fn of(batch: &'b [NewMessage]) -> Self {
        let round = Round { later: (0..batch.len()).collect(), ..Round::default() };
        Self { batch, answers: batch.iter().map(|_| None).collect(), round }
    }

    /// The messages to append next: no two have the same id, or the same sender and client id. `None` once all are
    /// answered.
    pub fn next_round(&mut self) -> Option<Vec<&'b NewMessage>> {
        if self.round.later.is_empty() {
            return None;
        }
        // Contains at least the first open message.
        self.round = Round::of(self.batch, &self.round.later);
        Some(self.round.asked.iter().map(|place| &self.batch[*place]).collect())
    }

    /// Takes the answers for the messages of the round.
    pub fn take(&mut self, given: Answers) {
        let Round { asked, repeated, later } = &mut self.round;
        for (place, answer) in asked.drain(..).zip(given) {
            self.answers[place] = Some(answer);
        }
        for (place, first) in repeated.drain(..) {
            match &self.answers[first] {
                Some(Ok(Appended::New(record) | Appended::Existing { record, .. })) => {
                    self.answers[place] = Some(Ok(Appended::existing(record.clone(), &self.batch[place])));
                }
                _ => later.push(place),
            }
        }
        later.sort_unstable();
    }

    /// The answers for the whole batch.
    pub fn finish(self) -> Answers {
        let answers = self.answers.into_iter();
        answers.map(|answer| answer.unwrap_or(Err(StoreErrorKind::Other.into()))).collect()
    }
}

/// The plan for the open messages of a batch, each given by its index in the batch.
#[derive(Debug, Default)]
struct Round {
    /// Messages to append: no two have the same id, or the same sender and client id.
    asked: Vec<usize>,
    /// Messages with the client id of an earlier one to the same chat, which get its answer.
    repeated: Vec<(usize, usize)>,
    /// Messages with the client id of an earlier one to another chat: they are new only if that one is refused. And all
    /// messages after one of these in its chat, since they must not overtake it.
    later: Vec<usize>,
}

impl Round {
    fn of(batch: &[NewMessage], open: &[usize]) -> Self {
        let mut round = Self::default();
        let mut named: HashMap<(UserId, &str), usize> = HashMap::new();
        let (mut held, mut ids) = (HashSet::<ChatId>::new(), HashSet::<MessageId>::new());
        for &place in open {
            let new = &batch[place];
            let name = new.client_id.as_ref().map(|(name, _)| (new.sender, name.as_str()));
            let first = name.map(|name| *named.entry(name).or_insert(place)).filter(|first| *first != place);
            let is_held = held.contains(&new.chat);
            match first {
                Some(first) if batch[first].chat == new.chat && !is_held => {
                    round.repeated.push((place, first));
                }
                None if !is_held && ids.insert(new.id) => round.asked.push(place),
                _ => {
                    held.insert(new.chat);
                    round.later.push(place);
                }
            }
        }
        round
    }
}

/// The server's outcome for one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is stored with these numbers.
    Stored(Seq, Revision),
    /// It was stored before, under the same client id, as the message with this id.
    Known(MessageId),
    /// Another message has this id.
    Taken,
    /// The sender is not a member.
    Stranger,
}

impl AppendOutcome {
    /// Reads the numbers of a message stored now, or the id of one stored before.
    pub fn read<R: Row + ?Sized>(columns: &mut Columns<'_, R>) -> StoreResult<Self> {
        let numbers = (columns.optional_number()?, columns.optional_number()?);
        let stored = columns.optional_id()?;
        Ok(match numbers {
            (Some(seq), Some(revision)) => Self::Stored(Seq::new(seq), Revision::new(revision)),
            _ => stored.map_or(Self::Stranger, Self::Known),
        })
    }

    /// The id of the message stored before.
    pub const fn known(&self) -> Option<&MessageId> {
        match self {
            Self::Known(id) => Some(id),
            _ => None,
        }
    }

    /// Answers for messages with these outcomes. `known` are the messages stored before, in their current state.
    pub fn answers<'n>(
        sent: impl IntoIterator<Item = &'n NewMessage>,
        said: impl IntoIterator<Item = Self>,
        known: Vec<MessageRecord>,
    ) -> Answers {
        let mut known: HashMap<_, _> = known.into_iter().map(|message| (message.id, message)).collect();
        let answers = sent.into_iter().zip(said).map(|(new, said)| match said {
            Self::Stored(seq, revision) => Ok(Appended::New(text_message(new, seq, revision))),
            Self::Known(id) => {
                let record = known.remove(&id).ok_or(StoreErrorKind::Corrupt)?;
                Ok(Appended::existing(record, new))
            }
            Self::Taken => Err(StoreErrorKind::AlreadyExists(Unique::Id).into()),
            Self::Stranger => Err(StoreErrorKind::NotMember.into()),
        });
        answers.collect()
    }
}

#[cfg(test)]
mod tests {
    use messenger_core::{
        ClientId, Id, Timestamp,
        ports::{Content, Fingerprint},
    };

    use super::*;
    use crate::values::{
        Value::{Bytes, Integer, Null},
        Values,
    };

    /// A message to this chat, always from the same sender.
    fn to(chat: u8, id: u8, name: Option<&str>) -> NewMessage {
        NewMessage {
            id: Id::from_bytes([id; 16]),
            chat: Id::from_bytes([chat; 16]),
            sender: Id::from_bytes([1; 16]),
            body: Content(vec![id]),
            client_id: name.map(|name| (ClientId::trusted(name), Fingerprint([id; 16]))),
            reply_to: None,
            created_at: Timestamp::from_micros(id.into()),
        }
    }

    fn stored(new: &NewMessage) -> StoreResult<Appended> {
        Ok(Appended::New(text_message(new, Seq::new(1), Revision::new(1))))
    }

    fn ids(sent: &[&NewMessage]) -> Vec<u8> {
        sent.iter().map(|new| new.id.as_bytes()[0]).collect()
    }

    #[test]
    fn numbers_are_counted_for_each_chat() {
        let batch = [to(9, 1, None), to(5, 2, Some("a")), to(9, 3, Some("b"))];
        let plan = Plan::of(&batch).unwrap();
        assert_eq!(plan.heads, [batch[1].chat, batch[0].chat]);
        assert_eq!((plan.counts.as_slice(), plan.activities.as_slice()), (&[1, 2][..], &[2, 3][..]));
        assert_eq!((plan.places.as_slice(), plan.nths.as_slice()), (&[2, 1, 2][..], &[1, 1, 2][..]));
        assert_eq!(plan.members.into_values().collect::<Vec<_>>(), [1, 2]);

        let plan = Plan::of(&batch).unwrap();
        let answers = plan.answers(&batch, &[(10, 20), (30, 40)]).unwrap();
        let numbers: Vec<_> = answers
            .into_iter()
            .map(|answer| match answer {
                Ok(Appended::New(message)) => (message.seq.get(), message.revision.get()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(numbers, [(31, 41), (11, 21), (32, 42)]);
        assert!(plan.answers(&batch, &[(10, 20)]).is_err());
    }

    #[test]
    fn a_batch_that_repeats_itself_has_no_plan() {
        assert!(Plan::of(&[to(9, 1, None), to(5, 1, None)]).is_none());
        assert!(Plan::of(&[to(9, 1, Some("a")), to(5, 2, Some("a"))]).is_none());
    }

    #[test]
    fn what_repeats_an_earlier_one_gets_its_answer() {
        let batch = [to(9, 1, Some("a")), to(9, 2, Some("a")), to(9, 3, None)];
        let mut rounds = Rounds::of(&batch);
        let sent = rounds.next_round().unwrap();
        assert_eq!(ids(&sent), [1, 3]);
        rounds.take(sent.into_iter().map(stored).collect());
        assert!(rounds.next_round().is_none());
        let answers = rounds.finish();
        assert!(
            matches!(&answers[1], Ok(Appended::Existing { record: message, .. }) if message.id == batch[0].id)
        );
        assert!(matches!(&answers[2], Ok(Appended::New(message)) if message.id == batch[2].id));
    }

    #[test]
    fn what_depends_on_another_chat_waits_and_holds_its_own() {
        let batch = [to(9, 1, Some("a")), to(5, 2, Some("a")), to(5, 3, None), to(9, 4, None)];
        let mut rounds = Rounds::of(&batch);
        let sent = rounds.next_round().unwrap();
        assert_eq!(ids(&sent), [1, 4]);
        rounds.take(vec![Err(StoreErrorKind::NotMember.into()), stored(sent[1])]);
        let sent = rounds.next_round().unwrap();
        assert_eq!(ids(&sent), [2, 3]);
        rounds.take(sent.into_iter().map(stored).collect());
        assert!(rounds.next_round().is_none());
        let answered: Vec<_> = rounds.finish().iter().map(Result::is_ok).collect();
        assert_eq!(answered, [false, true, true, true]);
    }

    #[test]
    fn what_was_said_becomes_answers() {
        let batch = [to(9, 1, None), to(9, 2, None), to(9, 3, None), to(9, 4, None), to(9, 5, None)];
        let earlier = text_message(&to(9, 8, None), Seq::new(1), Revision::new(1));
        let lost = Id::from_bytes([7; 16]);
        let said = [
            AppendOutcome::Stored(Seq::new(2), Revision::new(3)),
            AppendOutcome::Known(earlier.id),
            AppendOutcome::Known(lost),
            AppendOutcome::Taken,
            AppendOutcome::Stranger,
        ];
        assert_eq!(said.iter().filter_map(AppendOutcome::known).collect::<Vec<_>>(), [&earlier.id, &lost]);
        let answers = AppendOutcome::answers(&batch, said, vec![earlier.clone()]);
        assert!(matches!(&answers[0], Ok(Appended::New(message)) if message.seq == Seq::new(2)));
        assert!(matches!(&answers[1], Ok(Appended::Existing { record: message, .. }) if *message == earlier));
        let kinds: Vec<_> = answers[2..].iter().map(|answer| answer.as_ref().unwrap_err().kind()).collect();
        let wanted =
            [StoreErrorKind::Corrupt, StoreErrorKind::AlreadyExists(Unique::Id), StoreErrorKind::NotMember];
        assert_eq!(kinds, wanted);
    }

    #[test]
    fn what_a_server_says_is_read_from_numbers_and_an_id() {
        let read = |row: Values| AppendOutcome::read(&mut Columns::of(&row)).unwrap();
        let stored = read(Values(vec![Integer(2), Integer(3), Null]));
        assert_eq!(stored, AppendOutcome::Stored(Seq::new(2), Revision::new(3)));
        let known = read(Values(vec![Null, Null, Bytes(&[7; 16])]));
        assert_eq!(known, AppendOutcome::Known(Id::from_bytes([7; 16])));
        assert_eq!(read(Values(vec![Null, Null, Null])), AppendOutcome::Stranger);
    }
}
