//! Appends a batch of messages: one round trip to the server and one commit, for any number of messages, chats and
//! senders.

use std::sync::Arc;

use messenger_core::{
    Revision, Seq,
    ports::{Appended, MessageRecord, NewMessage, StoreError, StoreErrorKind, StoreResult, Unique},
};
use messenger_sql::{
    append::{Answers, AppendOutcome, Base, Plan},
    columns::Columns,
    records::text_message,
};

use crate::{
    call::Call,
    row::SqlRow,
    sql::{Bytes, fits, int},
    store::MssqlStore,
};

/// How many times a batch is tried when others store the same client ids at the same time.
const ATTEMPTS: usize = 5;

pub(crate) async fn append(store: &MssqlStore, batch: &[NewMessage]) -> StoreResult<Answers> {
    fits(batch.len())?;
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

/// Whether nothing was done because of what others have stored.
const fn is_of_others(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::AlreadyExists(_))
}

/// Returns `None`, without doing anything, if the message was stored before.
async fn append_one(store: &MssqlStore, new: &NewMessage) -> StoreResult<Option<Answers>> {
    let (name, fingerprint) =
        new.client_id.as_ref().map(|(name, fingerprint)| (name.as_str(), fingerprint.0)).unzip();
    let call = Call::procedure(Arc::clone(&store.sql().append.one))
        .id("@id", new.id)
        .id("@chat", new.chat)
        .id("@sender", new.sender)
        .bytes("@body", new.body.0.as_slice())
        .optional_bytes("@client_id", name)
        .optional_bytes("@fingerprint", fingerprint)
        .optional_id("@reply_to", new.reply_to)
        .time("@at", new.created_at);
    Ok(match store.one(call, AppendOutcome::read).await?.unwrap_or(AppendOutcome::Stranger) {
        AppendOutcome::Stored(seq, revision) => {
            Some(vec![Ok(Appended::New(text_message(new, seq, revision)))])
        }
        AppendOutcome::Stranger => Some(vec![Err(StoreErrorKind::NotMember.into())]),
        AppendOutcome::Known(_) | AppendOutcome::Taken => None,
    })
}

/// Appends the messages if none is refused and none was stored before, which is the usual case. Otherwise returns
/// `None`, without doing anything.
async fn append_all(store: &MssqlStore, batch: &[NewMessage]) -> StoreResult<Option<Answers>> {
    let Some(plan) = Plan::of(batch) else { return Ok(None) };
    let (messages, bytes) = messages(&plan, batch);
    let call = Call::procedure(Arc::clone(&store.sql().append.all))
        .bytes("@heads", heads(&plan))
        .bytes("@senders", senders(&plan))
        .bytes("@messages", messages)
        .bytes("@bytes", bytes);
    let bases = store.all(call, |columns| Ok::<Base, _>((columns.integer()?, columns.integer()?))).await?;
    if bases.is_empty() { Ok(None) } else { plan.answers(batch, &bases).map(Some) }
}

/// The chats with new messages, as `messenger_unpack_heads` takes them.
fn heads(plan: &Plan) -> Vec<u8> {
    let mut list = vec![];
    for ((id, messages), moment) in plan.heads.iter().zip(&plan.counts).zip(&plan.activities) {
        list.extend_from_slice(id.as_bytes());
        list.extend_from_slice(&count(*messages));
        list.extend_from_slice(&moment.to_be_bytes());
    }
    list
}

/// The senders, as `messenger_unpack_senders` takes them.
fn senders(plan: &Plan) -> Vec<u8> {
    let mut list = vec![];
    for ((place, id), nth) in &plan.members {
        list.extend_from_slice(&place.to_be_bytes());
        list.extend_from_slice(id.as_bytes());
        list.extend_from_slice(&count(later(plan, *place, *nth)));
    }
    list
}

/// The messages, as `messenger_unpack_messages` takes them, and the bytes that they refer to.
fn messages(plan: &Plan, batch: &[NewMessage]) -> (Vec<u8>, Vec<u8>) {
    let (mut list, mut bytes) = (vec![], Bytes::default());
    for (new, (place, nth)) in batch.iter().zip(plan.places.iter().zip(&plan.nths)) {
        list.extend_from_slice(&place.to_be_bytes());
        list.extend_from_slice(&count(later(plan, *place, *nth)));
        list.extend_from_slice(new.id.as_bytes());
        list.extend_from_slice(new.sender.as_bytes());
        list.extend_from_slice(&new.created_at.as_micros().to_be_bytes());
        list.extend_from_slice(&int(bytes.push(&new.body.0)));
        list.extend_from_slice(&int(new.body.0.len()));
        // Position 0 stands for null.
        let (name, length) = new.client_id.as_ref().map_or((0, 0), |(name, fingerprint)| {
            let start = bytes.push(name.as_str().as_bytes());
            bytes.push(&fingerprint.0);
            (start, name.as_str().len())
        });
        list.extend_from_slice(&int(name));
        list.extend_from_slice(&int(length));
        list.extend_from_slice(&int(new.reply_to.map_or(0, |id| bytes.push(id.as_bytes()))));
    }
    (list, bytes.into_bytes())
}

/// How many of the chat's new messages come after its nth.
fn later(plan: &Plan, place: i32, nth: i64) -> i64 {
    let head = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
    head.and_then(|head| plan.counts.get(head)).map_or(0, |messages| messages - nth)
}

fn count(count: i64) -> [u8; 4] {
    int(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Appends what can be appended, one message after the other.
async fn sort_out(store: &MssqlStore, batch: &[NewMessage]) -> StoreResult<Answers> {
    let plan = Plan::of_any(batch);
    let (messages, bytes) = messages(&plan, batch);
    let call = Call::procedure(Arc::clone(&store.sql().append.some))
        .bytes("@heads", heads(&plan))
        .bytes("@messages", messages)
        .bytes("@bytes", bytes);
    let mut attempt = 1;
    let rows = loop {
        match store.all(call.clone(), read).await {
            Err(error) if is_of_others(&error) && attempt < ATTEMPTS => attempt += 1,
            rows => break rows?,
        }
    };
    // A message without a row has a sender who is not a member.
    let mut answers: Answers = batch.iter().map(|_| Err(StoreErrorKind::NotMember.into())).collect();
    for (place, outcome) in rows {
        let (new, answer) = batch.get(place).zip(answers.get_mut(place)).ok_or(StoreErrorKind::Corrupt)?;
        *answer = match outcome {
            Outcome::Written(AppendOutcome::Stored(seq, revision)) => {
                Ok(Appended::New(text_message(new, seq, revision)))
            }
            Outcome::Written(_) => Err(StoreErrorKind::AlreadyExists(Unique::Id).into()),
            Outcome::Before(message) => Ok(Appended::existing(*message, new)),
        };
    }
    Ok(answers)
}

enum Outcome {
    Written(AppendOutcome),
    Before(Box<MessageRecord>),
}

/// Reads a message's index in the batch, and its outcome.
fn read(columns: &mut Columns<'_, SqlRow>) -> StoreResult<(usize, Outcome)> {
    let place = columns.place()?;
    let numbers = columns.optional_number()?.zip(columns.optional_number()?);
    let is_taken = columns.flag()?;
    let outcome = match numbers {
        Some((seq, revision)) => {
            Outcome::Written(AppendOutcome::Stored(Seq::new(seq), Revision::new(revision)))
        }
        None if is_taken => Outcome::Written(AppendOutcome::Taken),
        None => Outcome::Before(Box::new(columns.message()?)),
    };
    Ok((place, outcome))
}
