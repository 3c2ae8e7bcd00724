//! Appending a batch of messages: one exchange with the server and one commit, for any number of messages, chats and
//! senders.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use messenger_core::{
    ChatId, ClientId, MessageId, Revision, Seq, UserId,
    ports::{Appended, MessageRecord, NewMessage, StoreError, StoreErrorKind, StoreResult, Unique},
};
use sqlx::{SqlStr, postgres::PgRow};

use super::{
    PostgresStore,
    connections::{Session, Way},
    errors::is_worth_another_try,
    sql::{Bind as _, Query, Schema, statement, uuids},
};
use crate::{
    columns::{Columns, MESSAGE},
    records::text_message,
};

/// The statements of this file.
#[derive(Debug)]
pub(super) struct Sql {
    one: SqlStr,
    all: SqlStr,
    some: SqlStr,
    by_ids: SqlStr,
}

impl Sql {
    pub(super) fn new(schema: &Schema) -> Self {
        Self {
            one: statement(format!(
                "SELECT * FROM {schema}.messenger_append_message($1, $2, $3, $4, $5, $6, $7, $8)"
            )),
            all: statement(format!(
                "SELECT * FROM {schema}.messenger_append_messages($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, \
                 $12, $13, $14, $15)"
            )),
            some: statement(format!(
                "SELECT * FROM {schema}.messenger_append_some_messages($1, $2, $3, $4, $5, $6, $7, $8)"
            )),
            by_ids: statement(format!(
                "SELECT {MESSAGE} FROM {schema}.messenger_messages AS m WHERE m.id = ANY ($1)"
            )),
        }
    }
}

/// How often a batch is tried that others get in the way of. Locks are taken in a fixed order, so this is rare.
const ATTEMPTS: usize = 5;

type Answers = Vec<StoreResult<Appended>>;

pub(super) async fn append(store: &PostgresStore, batch: &[NewMessage]) -> StoreResult<Answers> {
    let plain = match batch {
        [] => return Ok(vec![]),
        [new] => append_one(store, new).await,
        all => append_all(store, all).await,
    };
    match plain {
        Ok(Some(answers)) => Ok(answers),
        Err(error) if !is_of_others(&error) => Err(error),
        _ => sort_out(store, batch).await,
    }
}

/// Whether nothing was done because of what others did, or had done before.
fn is_of_others(error: &StoreError) -> bool {
    is_worth_another_try(error) || matches!(error.kind(), StoreErrorKind::AlreadyExists(_))
}

/// `None`, and nothing is done, if it was stored before.
async fn append_one(store: &PostgresStore, new: &NewMessage) -> StoreResult<Option<Answers>> {
    let query = bind_one(store.query(&store.sql().append.one), new);
    let said = store.run(Way::Statement, |session| Box::pin(session.one(query, Said::read)));
    Ok(match said.await?.unwrap_or(Said::Stranger) {
        Said::Stored(seq, revision) => Some(vec![Ok(Appended::New(text_message(new, seq, revision)))]),
        Said::Stranger => Some(vec![Err(StoreErrorKind::NotMember.into())]),
        Said::Known(_) | Said::Taken => None,
    })
}

/// Appends the messages if nothing is refused and nothing was stored before, which is the rule. Else `None`, and
/// nothing is done.
async fn append_all(store: &PostgresStore, batch: &[NewMessage]) -> StoreResult<Option<Answers>> {
    let Some(plan) = Plan::of(batch) else { return Ok(None) };
    let query = plan.bind(store.query(&store.sql().append.all));
    let query = query.bind(plan.places.clone()).bind(plan.nths.clone());
    let query = bind_columns(query.ids(batch.iter().map(|new| &new.id)), batch.iter());
    let rows = store.run(Way::Statement, |session| {
        Box::pin(session.one(query, |columns| {
            let (seqs, revisions) = (columns.optional_integers()?, columns.optional_integers()?);
            Ok(seqs
                .zip(revisions)
                .map(|(seqs, revisions)| seqs.into_iter().zip(revisions).collect::<Vec<Base>>()))
        }))
    });
    rows.await?.flatten().map(|bases| plan.answers(batch, &bases)).transpose()
}

/// Appends what can be appended, one message after the other as far as they depend on each other, in one transaction.
async fn sort_out(store: &PostgresStore, batch: &[NewMessage]) -> StoreResult<Answers> {
    let batch: Arc<[NewMessage]> = batch.into();
    let mut attempt = 1;
    loop {
        let batch = Arc::clone(&batch);
        let done = store.run(Way::Transaction, |session| Box::pin(append_some(session, batch))).await;
        match done {
            Err(error) if is_of_others(&error) && attempt < ATTEMPTS => attempt += 1,
            done => return done,
        }
    }
}

async fn append_some(session: &mut Session, batch: Arc<[NewMessage]>) -> StoreResult<Answers> {
    let mut answers: Vec<Option<StoreResult<Appended>>> = batch.iter().map(|_| None).collect();
    let mut open: Vec<usize> = (0..batch.len()).collect();
    // Each round asks for at least the first that is open.
    while !open.is_empty() {
        let Round { asked, repeated, mut later } = Round::of(&batch, &open);
        let given = ask(session, &batch, &asked).await?;
        for (place, answer) in asked.into_iter().zip(given) {
            answers[place] = Some(answer);
        }
        for (place, first) in repeated {
            match &answers[first] {
                Some(Ok(Appended::New(message) | Appended::Existing(message))) => {
                    answers[place] = Some(Ok(Appended::Existing(message.clone())));
                }
                _ => later.push(place),
            }
        }
        later.sort_unstable();
        open = later;
    }
    Ok(answers.into_iter().map(|answer| answer.unwrap_or(Err(StoreErrorKind::Other.into()))).collect())
}

/// What is done with the open messages of a batch, each named by its place in it.
#[derive(Default)]
struct Round {
    /// Of these no two have the same id, or the same sender and client id.
    asked: Vec<usize>,
    /// These have the client id of an earlier one, sent to the same chat, and get its answer.
    repeated: Vec<(usize, usize)>,
    /// These have the client id of an earlier one that was sent to another chat: only if that is refused they are
    /// new. And all that come after one of these in its chat, since they may not get ahead of it.
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

/// What the server says of one message.
#[derive(Clone, Copy)]
enum Said {
    Stored(Seq, Revision),
    Known(MessageId),
    /// There is another message of this id.
    Taken,
    /// The sender is no member.
    Stranger,
}

impl Said {
    fn read(columns: &mut Columns<'_, PgRow>) -> StoreResult<Self> {
        let numbers = (columns.optional_number()?, columns.optional_number()?);
        let stored = columns.optional_id()?;
        Ok(match numbers {
            (Some(seq), Some(revision)) => Self::Stored(Seq::new(seq), Revision::new(revision)),
            _ => stored.map_or(Self::Stranger, Self::Known),
        })
    }
}

/// Appends those of the messages that can be, and answers for each.
async fn ask(session: &mut Session, batch: &[NewMessage], asked: &[usize]) -> StoreResult<Answers> {
    let sent = || asked.iter().map(|place| &batch[*place]);
    let query = session.query(&session.statements.append.some);
    let query = query.ids(sent().map(|new| &new.id)).ids(sent().map(|new| &new.chat));
    let rows = session.all(bind_columns(query, sent()), |columns| {
        let (place, said) = (columns.place()?, Said::read(columns)?);
        Ok((place, if columns.flag()? { Said::Taken } else { said }))
    });
    let mut said = vec![Said::Stranger; asked.len()];
    for (place, of_message) in rows.await? {
        *said.get_mut(place).ok_or(StoreErrorKind::Corrupt)? = of_message;
    }
    let mut known = known(session, &said).await?;
    let answers = sent().zip(said).map(|(new, said)| match said {
        Said::Stored(seq, revision) => Ok(Appended::New(text_message(new, seq, revision))),
        Said::Known(id) => known.remove(&id).map(Appended::Existing).ok_or(StoreErrorKind::Corrupt.into()),
        Said::Taken => Err(StoreErrorKind::AlreadyExists(Unique::Id).into()),
        Said::Stranger => Err(StoreErrorKind::NotMember.into()),
    });
    Ok(answers.collect())
}

/// The numbers that a chat had before.
type Base = (i64, i64);

/// Which numbers the messages get, counted from those of their chats.
#[derive(Default)]
struct Plan {
    /// By rising ids: in this order they are locked.
    heads: Vec<ChatId>,
    counts: Vec<i64>,
    activities: Vec<i64>,
    /// Of each message: which of the heads, from 1, and which of its new messages, from 1.
    places: Vec<i32>,
    nths: Vec<i64>,
    /// Those who send to a head, with the last of their messages, by head and id: in this order their marks are moved.
    members: BTreeMap<(i32, UserId), i64>,
}

impl Plan {
    /// `None` if a message repeats another one of the batch: then more has to be known.
    fn of(sent: &[NewMessage]) -> Option<Self> {
        let mut ids = HashSet::new();
        let mut names = HashSet::new();
        for new in sent {
            let name = new.client_id.as_ref().map(|(name, _)| (new.sender, name.as_str()));
            if !ids.insert(new.id) || name.is_some_and(|name| !names.insert(name)) {
                return None;
            }
        }
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
        Some(plan)
    }

    fn bind(&self, query: Query) -> Query {
        query
            .ids(&self.heads)
            .bind(self.counts.clone())
            .bind(self.activities.clone())
            .bind(self.members.keys().map(|(place, _)| *place).collect::<Vec<_>>())
            .bind(uuids(self.members.keys().map(|(_, member)| member)))
            .bind(self.members.values().copied().collect::<Vec<_>>())
    }

    fn answers(&self, sent: &[NewMessage], bases: &[Base]) -> StoreResult<Answers> {
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

fn bind_one(query: Query, new: &NewMessage) -> Query {
    query
        .id(new.id)
        .id(new.chat)
        .id(new.sender)
        .bytes(&new.body.0)
        .bind(new.client_id.as_ref().map(|(name, _)| name.as_str().to_owned()))
        .bind(new.client_id.as_ref().map(|(_, fingerprint)| fingerprint.0.to_vec()))
        .optional_id(new.reply_to)
        .time(new.created_at)
}

/// The columns from the sender to the moment.
fn bind_columns<'n>(query: Query, sent: impl Iterator<Item = &'n NewMessage> + Clone) -> Query {
    let names = sent.clone().map(|new| new.client_id.as_ref().map(|(name, _)| ClientId::as_str(name)));
    let fingerprints =
        sent.clone().map(|new| new.client_id.as_ref().map(|(_, fingerprint)| fingerprint.0.as_slice()));
    query
        .ids(sent.clone().map(|new| &new.sender))
        .bind(sent.clone().map(|new| new.body.0.as_slice()).collect::<Vec<_>>())
        .bind(names.collect::<Vec<_>>())
        .bind(fingerprints.collect::<Vec<_>>())
        .bind(sent.clone().map(|new| new.reply_to.map(|id| id.as_uuid())).collect::<Vec<_>>())
        .bind(sent.map(|new| new.created_at.as_micros()).collect::<Vec<_>>())
}

/// What was stored before, as it is now.
async fn known(session: &mut Session, said: &[Said]) -> StoreResult<HashMap<MessageId, MessageRecord>> {
    let ids = said.iter().filter_map(|said| match said {
        Said::Known(id) => Some(id),
        _ => None,
    });
    let ids = uuids(ids);
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let query = session.query(&session.statements.append.by_ids).bind(ids);
    let records = session.all(query, |columns| columns.message()).await?;
    Ok(records.into_iter().map(|message| (message.id, message)).collect())
}
