//! Appends a batch of messages: one round trip to the server and one commit, for any number of messages, chats and
//! senders.

use std::sync::Arc;

use messenger_core::{
    ClientId,
    ports::{Appended, MessageRecord, NewMessage, StoreError, StoreErrorKind, StoreResult},
};
use messenger_sql::{
    append::{Answers, AppendOutcome, Base, Plan, Rounds},
    records::text_message,
};

use super::{
    connections::{Mode, Session},
    errors::is_worth_another_try,
    sql::{Bind as _, Columns, Query, uuids},
    store::PostgresStore,
};

/// How many times a batch is tried when others are in its way. Locks are taken in a fixed order, so this is rare.
const ATTEMPTS: usize = 5;

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

/// Whether nothing was done because of concurrent or earlier work of others.
fn is_of_others(error: &StoreError) -> bool {
    is_worth_another_try(error) || matches!(error.kind(), StoreErrorKind::AlreadyExists(_))
}

/// Returns `None`, without doing anything, if the message was stored before.
async fn append_one(store: &PostgresStore, new: &NewMessage) -> StoreResult<Option<Answers>> {
    let query = bind_one(store.query(&store.sql().append.one), new);
    let said = store.run(Mode::Statement, |session| Box::pin(session.one(query, AppendOutcome::read)));
    Ok(match said.await?.unwrap_or(AppendOutcome::Stranger) {
        AppendOutcome::Stored(seq, revision) => {
            Some(vec![Ok(Appended::New(text_message(new, seq, revision)))])
        }
        AppendOutcome::Stranger => Some(vec![Err(StoreErrorKind::NotMember.into())]),
        AppendOutcome::Known(_) | AppendOutcome::Taken => None,
    })
}

/// Appends the messages if none is refused and none was stored before, which is the usual case. Otherwise returns
/// `None`, without doing anything.
async fn append_all(store: &PostgresStore, batch: &[NewMessage]) -> StoreResult<Option<Answers>> {
    let Some(plan) = Plan::of(batch) else { return Ok(None) };
    let query = bind_plan(store.query(&store.sql().append.all), &plan);
    let query = bind_columns(query.ids(batch.iter().map(|new| &new.id)), batch.iter());
    let bases = store.run(Mode::Statement, |session| Box::pin(session.one(query, bases))).await?;
    bases.flatten().map(|bases| plan.answers(batch, &bases)).transpose()
}

/// Two lists, the seqs and the revisions of the heads; NULL if nothing was done.
fn bases(columns: &mut Columns<'_>) -> StoreResult<Option<Vec<Base>>> {
    let (seqs, revisions) = (optional_integers(columns)?, optional_integers(columns)?);
    Ok(seqs.zip(revisions).map(|(seqs, revisions)| seqs.into_iter().zip(revisions).collect()))
}

/// Reads a list, a type that only this engine has.
fn optional_integers(columns: &mut Columns<'_>) -> StoreResult<Option<Vec<i64>>> {
    let (row, column) = columns.next_column();
    row.get(column)
}

/// Appends what can be appended, in one transaction; messages that depend on each other one after the other.
async fn sort_out(store: &PostgresStore, batch: &[NewMessage]) -> StoreResult<Answers> {
    let batch: Arc<[NewMessage]> = batch.into();
    let mut attempt = 1;
    loop {
        let batch = Arc::clone(&batch);
        let done = store.run(Mode::Transaction, |session| Box::pin(append_some(session, batch))).await;
        match done {
            Err(error) if is_of_others(&error) && attempt < ATTEMPTS => attempt += 1,
            done => return done,
        }
    }
}

async fn append_some(session: &mut Session, batch: Arc<[NewMessage]>) -> StoreResult<Answers> {
    let mut rounds = Rounds::of(&batch);
    while let Some(sent) = rounds.next_round() {
        rounds.take(ask(session, &sent).await?);
    }
    Ok(rounds.finish())
}

/// Appends those of the messages that can be, and answers for each.
async fn ask(session: &mut Session, sent: &[&NewMessage]) -> StoreResult<Answers> {
    let query = session.query(&session.statements.append.some);
    let query = query.ids(sent.iter().map(|new| &new.id)).ids(sent.iter().map(|new| &new.chat));
    let rows = session.all(bind_columns(query, sent.iter().copied()), |columns| {
        let (place, said) = (columns.place()?, AppendOutcome::read(columns)?);
        Ok((place, if columns.flag()? { AppendOutcome::Taken } else { said }))
    });
    let mut said = vec![AppendOutcome::Stranger; sent.len()];
    for (place, of_message) in rows.await? {
        *said.get_mut(place).ok_or(StoreErrorKind::Corrupt)? = of_message;
    }
    let known = known(session, &said).await?;
    Ok(AppendOutcome::answers(sent.iter().copied(), said, known))
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

fn bind_plan(query: Query, plan: &Plan) -> Query {
    query
        .ids(&plan.heads)
        .bind(plan.counts.clone())
        .bind(plan.activities.clone())
        .bind(plan.members.keys().map(|(place, _)| *place).collect::<Vec<_>>())
        .bind(uuids(plan.members.keys().map(|(_, member)| member)))
        .bind(plan.members.values().copied().collect::<Vec<_>>())
        .bind(plan.places.clone())
        .bind(plan.nths.clone())
}

/// Binds the columns from the sender to the time.
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

/// Reads the messages that were stored before, in their current state.
async fn known(session: &mut Session, said: &[AppendOutcome]) -> StoreResult<Vec<MessageRecord>> {
    let ids = uuids(said.iter().filter_map(AppendOutcome::known));
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let query = session.query(&session.statements.append.by_ids).bind(ids);
    session.all(query, |columns| columns.message()).await
}
