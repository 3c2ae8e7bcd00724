//! Appending a batch of messages: one exchange with the server and one commit, for any number of messages, chats and
//! senders.

use std::collections::{BTreeMap, HashMap, HashSet};

use messenger_core::{
    ChatId, ClientId, MessageId, Revision, Seq, UserId,
    ports::{Appended, MessageRecord, NewMessage, StoreErrorKind, StoreResult, Unique},
};
use sqlx::{SqlStr, postgres::PgRow};

use super::{
    PostgresStore,
    connections::Way,
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
                "SELECT 1::bigint, a.* FROM {schema}.messenger_append_message($1, $2, $3, $4, $5, $6, $7, $8) AS a"
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
    let mut answers: Vec<Option<StoreResult<Appended>>> = batch.iter().map(|_| None).collect();
    let mut open: Vec<usize> = (0..batch.len()).collect();
    // One round, but for what repeats another message of the batch: each asks for at least the first that is open.
    while !open.is_empty() {
        let Round { asked, repeated, mut later } = Round::of(batch, &open);
        let given = ask(store, batch, &asked).await?;
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
    /// Of these no two have the same sender and client id.
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
        let mut held: HashSet<ChatId> = HashSet::new();
        for &place in open {
            let new = &batch[place];
            let name = new.client_id.as_ref().map(|(name, _)| (new.sender, name.as_str()));
            let first = name.map(|name| *named.entry(name).or_insert(place)).filter(|first| *first != place);
            let is_held = held.contains(&new.chat);
            match first {
                Some(first) if batch[first].chat == new.chat && !is_held => {
                    round.repeated.push((place, first));
                }
                None if !is_held => round.asked.push(place),
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
}

/// Asks for messages of which no two have the same sender and client id.
async fn ask(store: &PostgresStore, batch: &[NewMessage], asked: &[usize]) -> StoreResult<Answers> {
    // Ids are random, so nobody pays for looking whether they are free before there is a reason to.
    let mut taken = HashSet::new();
    let mut attempt = 1;
    let (sent, said) = loop {
        let mut ids = taken.clone();
        let sent: Vec<&NewMessage> =
            asked.iter().map(|place| &batch[*place]).filter(|new| ids.insert(new.id)).collect();
        let mut said: Vec<Option<Said>> = vec![None; sent.len()];
        match exchange(store, &sent).await {
            Ok(rows) => {
                for (place, of_message) in rows {
                    *said.get_mut(place).ok_or(StoreErrorKind::Corrupt)? = Some(of_message);
                }
                break (sent, said);
            }
            Err(error) if error.kind() == StoreErrorKind::AlreadyExists(Unique::Id) && taken.is_empty() => {
                let known = by_ids(store, sent.iter().map(|new| &new.id)).await?;
                taken.extend(known.into_iter().map(|message| message.id));
                if taken.is_empty() {
                    return Err(error);
                }
            }
            Err(error) if is_worth_another_try(&error) && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    };
    let mut known = known(store, &said).await?;
    let mut sent = sent.into_iter().zip(said).peekable();
    Ok(asked
        .iter()
        .map(|place| {
            let new = &batch[*place];
            match sent.next_if(|(next, _)| std::ptr::eq(*next, new)) {
                None => Err(StoreErrorKind::AlreadyExists(Unique::Id).into()),
                Some((_, None)) => Err(StoreErrorKind::NotMember.into()),
                Some((_, Some(Said::Stored(seq, revision)))) => {
                    Ok(Appended::New(text_message(new, seq, revision)))
                }
                Some((_, Some(Said::Known(id)))) => {
                    known.remove(&id).map(Appended::Existing).ok_or(StoreErrorKind::Corrupt.into())
                }
            }
        })
        .collect())
}

/// What became of each message, by its place among those that were sent.
async fn exchange(store: &PostgresStore, sent: &[&NewMessage]) -> StoreResult<Vec<(usize, Said)>> {
    let query = match sent {
        [] => return Ok(vec![]),
        [new] => bind_one(store.query(&store.sql().append.one), new),
        all => {
            let plan = Plan::of(all);
            if let Some(bases) = append_all(store, all, &plan).await? {
                return plan.said(&bases);
            }
            bind_some(store.query(&store.sql().append.some), all)
        }
    };
    let rows = store.run(Way::Statement, |session| Box::pin(session.all(query, read))).await?;
    Ok(rows.into_iter().filter_map(|(place, said)| said.map(|said| (place, said))).collect())
}

/// The numbers that a chat had before.
type Base = (i64, i64);

/// Appends the messages if nothing is refused and nothing was stored before, which is the rule.
async fn append_all(
    store: &PostgresStore,
    sent: &[&NewMessage],
    plan: &Plan,
) -> StoreResult<Option<Vec<Base>>> {
    let query = plan.bind(store.query(&store.sql().append.all));
    let query = bind_columns(
        query.bind(plan.places.clone()).bind(plan.nths.clone()).bind(uuids(sent.iter().map(|new| &new.id))),
        sent,
    );
    let rows = store.run(Way::Statement, |session| {
        Box::pin(session.one(query, |columns| {
            let (seqs, revisions) = (columns.optional_integers()?, columns.optional_integers()?);
            Ok(seqs.zip(revisions).map(|(seqs, revisions)| seqs.into_iter().zip(revisions).collect()))
        }))
    });
    Ok(rows.await?.flatten())
}

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
    fn of(sent: &[&NewMessage]) -> Self {
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

    fn bind(&self, query: Query) -> Query {
        query
            .ids(&self.heads)
            .bind(self.counts.clone())
            .bind(self.activities.clone())
            .bind(self.members.keys().map(|(place, _)| *place).collect::<Vec<_>>())
            .bind(uuids(self.members.keys().map(|(_, member)| member)))
            .bind(self.members.values().copied().collect::<Vec<_>>())
    }

    fn said(&self, bases: &[Base]) -> StoreResult<Vec<(usize, Said)>> {
        let numbers = self.places.iter().zip(&self.nths).enumerate().map(|(at, (place, nth))| {
            let head = usize::try_from(*place).ok().and_then(|place| place.checked_sub(1));
            let (seq, revision) = head.and_then(|head| bases.get(head)).ok_or(StoreErrorKind::Corrupt)?;
            let number = |base: &i64| u64::try_from(base + nth).map_err(|_| StoreErrorKind::Corrupt);
            Ok((at, Said::Stored(Seq::new(number(seq)?), Revision::new(number(revision)?))))
        });
        numbers.collect()
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

fn bind_some(query: Query, sent: &[&NewMessage]) -> Query {
    let query =
        query.bind(uuids(sent.iter().map(|new| &new.id))).bind(uuids(sent.iter().map(|new| &new.chat)));
    bind_columns(query, sent)
}

/// The columns from the sender to the moment.
fn bind_columns(query: Query, sent: &[&NewMessage]) -> Query {
    let names = sent.iter().map(|new| new.client_id.as_ref().map(|(name, _)| ClientId::as_str(name)));
    let fingerprints =
        sent.iter().map(|new| new.client_id.as_ref().map(|(_, fingerprint)| fingerprint.0.as_slice()));
    query
        .bind(uuids(sent.iter().map(|new| &new.sender)))
        .bind(sent.iter().map(|new| new.body.0.as_slice()).collect::<Vec<_>>())
        .bind(names.collect::<Vec<_>>())
        .bind(fingerprints.collect::<Vec<_>>())
        .bind(sent.iter().map(|new| new.reply_to.map(|id| id.as_uuid())).collect::<Vec<_>>())
        .bind(sent.iter().map(|new| new.created_at.as_micros()).collect::<Vec<_>>())
}

/// A message's place among those that were sent, and what became of it.
fn read(columns: &mut Columns<'_, PgRow>) -> StoreResult<(usize, Option<Said>)> {
    let place = columns.place()?;
    let numbers = (columns.optional_number()?, columns.optional_number()?);
    let stored = columns.optional_id()?;
    let said = match numbers {
        (Some(seq), Some(revision)) => Some(Said::Stored(Seq::new(seq), Revision::new(revision))),
        _ => stored.map(Said::Known),
    };
    Ok((place, said))
}

/// What was stored before, as it is now.
async fn known(
    store: &PostgresStore,
    said: &[Option<Said>],
) -> StoreResult<HashMap<MessageId, MessageRecord>> {
    let ids = said.iter().filter_map(|said| match said {
        Some(Said::Known(id)) => Some(id),
        _ => None,
    });
    let records = by_ids(store, ids).await?;
    Ok(records.into_iter().map(|message| (message.id, message)).collect())
}

async fn by_ids<'i>(
    store: &PostgresStore,
    ids: impl Iterator<Item = &'i MessageId>,
) -> StoreResult<Vec<MessageRecord>> {
    let ids = uuids(ids);
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let query = store.query(&store.sql().append.by_ids).bind(ids);
    store.all(query, |columns| columns.message()).await
}
