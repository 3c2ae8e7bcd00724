use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use messenger_core::{
    ChatId, ClientId, MessageId, MessageKind, Revision, Seq, Timestamp, UserId,
    ports::{
        Anchor, Appended, Changes, ChatRecord, DeleteMessage, EditMessage, HistoryRange, MessageRecord,
        MessageStore, NewMessage, NewSystemMessage, StoreErrorKind, StoreResult, Unique,
    },
};
use sqlx::{Either, Executor as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    SqliteStore,
    errors::store_error,
    sql::{self, Batched, Bind as _, Query, json_ids, json_pairs, numbered_values, values},
    writer,
};
use crate::columns::{CHAT, Columns, MESSAGE, NO_CHAT, NO_MESSAGE, rows};

pub(super) static BY_ID: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {MESSAGE} FROM messenger_messages AS m WHERE m.id = $2 AND m.chat_id = $1")
});

/// Messages `$3` to `$4`, but at most `$5`, those at the end; with nulls if there are none.
pub(super) static HISTORY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT c.last_seq, {MESSAGE}
        FROM messenger_members AS p
        CROSS JOIN messenger_chats AS c ON c.id = p.chat_id
        LEFT JOIN messenger_messages AS m ON m.chat_id = $1
            AND m.seq >= max($3, min(c.last_seq, $4) + 1 - $5) AND m.seq <= $4
        WHERE p.chat_id = $1 AND p.user_id = $2 AND p.left_at IS NULL
        ORDER BY m.seq"
    )
});

/// `$1` is a list of chats with revisions. First the heads, then the messages whose last change is later: those
/// that were written since and not changed, which lie among as many last ones as there were changes, and those
/// that were changed. Of either kind `$2` and one more: where there were no more changes than that, nothing is
/// to be cut off, else the last one is looked for.
pub(super) static CHANGES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH asked (key, chat_id, since) AS MATERIALIZED (
            SELECT key, unhex(value ->> 0), value ->> 1 FROM json_each($1)
        )
        SELECT a.key, {CHAT}, {NO_MESSAGE}
        FROM asked AS a CROSS JOIN messenger_chats AS c ON c.id = a.chat_id
        UNION ALL
        SELECT a.key, {NO_CHAT}, {MESSAGE}
        FROM asked AS a
        CROSS JOIN messenger_chats AS c ON c.id = a.chat_id
        CROSS JOIN messenger_messages AS m ON m.chat_id = a.chat_id
            AND m.seq > c.last_seq - (c.revision - a.since)
            AND m.created_revision > a.since AND m.revision = m.created_revision
            AND m.seq <= CASE WHEN c.revision - a.since <= $2 THEN c.last_seq ELSE coalesce((
                SELECT x.seq FROM messenger_messages AS x
                WHERE x.chat_id = a.chat_id AND x.seq > c.last_seq - (c.revision - a.since)
                    AND x.created_revision > a.since AND x.revision = x.created_revision
                ORDER BY x.seq LIMIT 1 OFFSET $2
            ), c.last_seq) END
        UNION ALL
        SELECT a.key, {NO_CHAT}, {MESSAGE}
        FROM asked AS a
        CROSS JOIN messenger_chats AS c ON c.id = a.chat_id
        CROSS JOIN messenger_messages AS m ON m.chat_id = a.chat_id
            AND m.revision > a.since AND m.revision > m.created_revision
            AND m.revision <= CASE WHEN c.revision - a.since <= $2 THEN c.revision ELSE coalesce((
                SELECT x.revision FROM messenger_messages AS x
                WHERE x.chat_id = a.chat_id AND x.revision > a.since AND x.revision > x.created_revision
                ORDER BY x.revision LIMIT 1 OFFSET $2
            ), c.revision) END"
    )
});

/// First what is known of the senders' places, then what is stored under the same client ids.
pub(super) static LOOK: Batched = Batched::new(|size| {
    format!(
        "BEGIN IMMEDIATE;
        SELECT v.column1, c.revision, c.last_seq, c.texts
        FROM (VALUES {}) AS v
        CROSS JOIN messenger_chats AS c ON c.id = v.column2
        CROSS JOIN messenger_members AS p ON p.chat_id = c.id AND p.user_id = v.column3
        WHERE p.left_at IS NULL;
        SELECT {MESSAGE}
        FROM (VALUES {}) AS v
        CROSS JOIN messenger_messages AS m ON m.sender_id = v.column1 AND m.client_id = v.column2",
        numbered_values(size, 2),
        values(size, 2)
    )
});

/// The messages, the heads of their chats and the marks of their senders.
///
/// `OR FAIL` spares SQLite the notes by which it could undo a single statement. The plus signs keep the planner from
/// going through all chats and members to find those that are in the values.
pub(super) static STORE: Batched = Batched::new(|size| {
    format!(
        "INSERT OR FAIL INTO messenger_messages (chat_id, seq, id, sender_id, kind, created_revision, revision, texts, body,
            client_id, fingerprint, reply_to, created_at)
        SELECT column1, column2, column3, column4, 0, column5, column5, column6, column7, column8, column9,
            column10, column11
        FROM (VALUES {}) WHERE column1 IS NOT NULL;
        UPDATE OR FAIL messenger_chats AS c
        SET revision = v.column2, last_seq = v.column3, texts = v.column4, activity_at = v.column5
        FROM (VALUES {}) AS v WHERE c.id = +v.column1;
        UPDATE OR FAIL messenger_members AS p
        SET read_seq = v.column3, read_texts = v.column4, delivered_seq = v.column3
        FROM (VALUES {}) AS v WHERE p.chat_id = +v.column1 AND p.user_id = +v.column2;
        COMMIT",
        values(size, 11),
        values(size, 5),
        values(size, 4)
    )
});

/// Those that are no tombstones yet.
pub(super) static LIVE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {MESSAGE} FROM messenger_messages AS m
        WHERE m.id IN (SELECT unhex(value) FROM json_each($1)) AND m.deleted_at IS NULL
        ORDER BY m.seq"
    )
});

pub(super) const ERASE: &str = "UPDATE messenger_messages AS m
    SET revision = erased.revision, body = NULL, fingerprint = NULL, deleted_at = $2
    FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS revision FROM json_each($1)) AS erased
    WHERE m.id = +erased.id";

#[async_trait]
impl MessageStore for SqliteStore {
    /// Stores up to 2,048 messages in one commit; a larger batch takes several.
    async fn append_messages(&self, batch: &[NewMessage]) -> StoreResult<Vec<StoreResult<Appended>>> {
        let mut answers = Vec::with_capacity(batch.len());
        for part in batch.chunks(Batched::MAX) {
            let part = part.to_vec();
            answers.extend(self.writer.run(move |conn| Box::pin(append(conn, part))).await?);
        }
        Ok(answers)
    }

    async fn message(&self, chat: ChatId, message: MessageId) -> StoreResult<MessageRecord> {
        let query = sqlx::query(BY_ID.as_str()).id(chat).id(message);
        self.one(query, |columns| columns.message()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn history(
        &self,
        chat: ChatId,
        user: UserId,
        anchor: Anchor,
        limit: usize,
    ) -> StoreResult<HistoryRange> {
        let (low, high) = match anchor {
            Anchor::Newest => (1, Seq::MAX.get()),
            Anchor::Before(seq) => (1, seq.get().saturating_sub(1)),
            // What lies behind the last message is not there to be found.
            Anchor::After(_) | Anchor::Around(_) => {
                anchor.range(Seq::MAX, limit).map_or((1, 0), |(low, high)| (low.get(), high.get()))
            }
        };
        let query = sqlx::query(HISTORY.as_str()).id(chat).id(user).number(low).number(high);
        let mut last_seq = None;
        let messages = self.all(query.bind(rows(limit)), |columns| {
            last_seq = Some(columns.seq()?);
            columns.optional_message()
        });
        let messages: Vec<Option<MessageRecord>> = messages.await?;
        let last_seq = last_seq.ok_or(StoreErrorKind::NotMember)?;
        Ok(HistoryRange { last_seq, messages: messages.into_iter().flatten().collect() })
    }

    async fn edit_message(&self, edit: EditMessage) -> StoreResult<MessageRecord> {
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    let revision = expect(conn, edit.chat, edit.message, edit.expected).await?;
                    let change = "UPDATE messenger_messages SET revision = $2, body = $3, edited_at = $4
                        WHERE id = $1";
                    let change = sqlx::query(change).id(edit.message).number(revision.get());
                    sql::run(conn, change.bytes(&edit.body.0).time(edit.edited_at)).await?;
                    reread(conn, edit.chat, edit.message).await
                })
            })
            .await
    }

    async fn delete_message(&self, delete: DeleteMessage) -> StoreResult<MessageRecord> {
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    let revision = expect(conn, delete.chat, delete.message, delete.expected).await?;
                    let change = "UPDATE messenger_messages
                        SET revision = $2, body = NULL, fingerprint = NULL, deleted_at = $3 WHERE id = $1";
                    let change = sqlx::query(change).id(delete.message).number(revision.get());
                    sql::run(conn, change.time(delete.deleted_at)).await?;
                    reread(conn, delete.chat, delete.message).await
                })
            })
            .await
    }

    async fn erase_messages(
        &self,
        chat: ChatId,
        sender: UserId,
        at: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        loop {
            // There is no index for this rare errand, so they are looked for where nobody has to wait for it.
            let look = "SELECT id FROM messenger_messages
                WHERE chat_id = $1 AND sender_id = $2 AND kind = 0 AND deleted_at IS NULL
                ORDER BY seq LIMIT $3";
            let look = sqlx::query(look).id(chat).id(sender).bind(rows(limit));
            let found = self.all(look, |columns| columns.id()).await?;
            if found.is_empty() {
                return Ok(vec![]);
            }
            let erased = self.writer.transaction(move |conn| Box::pin(erase(conn, chat, found, at))).await?;
            // None are left of those that were found if others deleted them meanwhile; there may be more.
            if !erased.is_empty() {
                return Ok(erased);
            }
        }
    }

    async fn changes(&self, since: &[(ChatId, Revision)], limit: usize) -> StoreResult<Vec<Changes>> {
        let list = json_pairs(since.iter().map(|(chat, since)| (chat, since.get().cast_signed())));
        let query = sqlx::query(CHANGES.as_str()).bind(list).bind(rows(limit));
        let mut found: Vec<Option<Changes>> = vec![None; since.len()];
        self.all(query, |columns| {
            let of_chat = found.get_mut(columns.index()?).ok_or(StoreErrorKind::Corrupt)?;
            if let Some(chat) = columns.optional_chat()? {
                *of_chat = Some(Changes { chat, messages: vec![], truncated: false });
            } else if let (Some(changes), Some(message)) = (of_chat, columns.optional_message()?) {
                changes.messages.push(message);
            }
            Ok(())
        })
        .await?;
        Ok(found.into_iter().flatten().map(|changes| in_order(changes, limit)).collect())
    }
}

fn in_order(mut changes: Changes, limit: usize) -> Changes {
    changes.messages.sort_unstable_by_key(|message| message.revision);
    changes.truncated = changes.messages.len() > limit;
    changes.messages.truncate(limit);
    changes
}

/// Writes a system message with the next numbers of the chat, which the caller stores.
pub(super) async fn append_system(
    conn: &mut SqliteConnection,
    chat: &mut ChatRecord,
    new: NewSystemMessage,
) -> StoreResult<MessageRecord> {
    chat.revision = chat.revision.next();
    chat.last_seq = chat.last_seq.next();
    let insert = "INSERT INTO messenger_messages
            (chat_id, seq, id, sender_id, kind, created_revision, revision, texts, body, created_at)
        VALUES ($1, $2, $3, $4, 1, $5, $5, $6, $7, $8)";
    let insert = sqlx::query(insert)
        .id(chat.id)
        .number(chat.last_seq.get())
        .id(new.id)
        .id(new.sender)
        .number(chat.revision.get())
        .number(chat.texts)
        .bytes(&new.note.0)
        .time(new.at);
    sql::run(conn, insert).await?;
    Ok(MessageRecord {
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
    })
}

/// The chat's next revision, given out for a message that was last changed at `expected`.
async fn expect(
    conn: &mut SqliteConnection,
    chat: ChatId,
    message: MessageId,
    expected: Revision,
) -> StoreResult<Revision> {
    let query = "SELECT revision FROM messenger_messages WHERE id = $1 AND chat_id = $2";
    let found = sql::one(conn, sqlx::query(query).id(message).id(chat), |columns| columns.revision()).await?;
    if found.ok_or(StoreErrorKind::NotFound)? != expected {
        return Err(StoreErrorKind::Conflict.into());
    }
    advance(conn, chat, 1).await
}

/// Gives out the chat's next `count` revisions and answers with the last of them.
async fn advance(conn: &mut SqliteConnection, chat: ChatId, count: usize) -> StoreResult<Revision> {
    let advance = "UPDATE messenger_chats SET revision = revision + $2 WHERE id = $1 RETURNING revision";
    let advance = sqlx::query(advance).id(chat).bind(rows(count));
    sql::one(conn, advance, |columns| columns.revision())
        .await?
        .ok_or_else(|| StoreErrorKind::NotFound.into())
}

async fn reread(conn: &mut SqliteConnection, chat: ChatId, message: MessageId) -> StoreResult<MessageRecord> {
    let query = sqlx::query(BY_ID.as_str()).id(chat).id(message);
    let message = sql::one(conn, query, |columns| columns.message()).await?;
    message.ok_or_else(|| StoreErrorKind::NotFound.into())
}

/// Makes tombstones of those of the messages that are none yet.
async fn erase(
    conn: &mut SqliteConnection,
    chat: ChatId,
    messages: Vec<MessageId>,
    at: Timestamp,
) -> StoreResult<Vec<MessageRecord>> {
    let query = sqlx::query(LIVE.as_str()).bind(json_ids(&messages));
    let mut live = sql::all(conn, query, |columns| columns.message()).await?;
    if live.is_empty() {
        return Ok(live);
    }
    let mut revision = advance(conn, chat, live.len()).await?.get() - live.len() as u64;
    for message in &mut live {
        revision += 1;
        message.revision = Revision::new(revision);
        (message.body, message.fingerprint, message.deleted_at) = (None, None, Some(at));
    }
    let list = json_pairs(live.iter().map(|message| (&message.id, message.revision.get().cast_signed())));
    sql::run(conn, sqlx::query(ERASE).bind(list).time(at)).await?;
    Ok(live)
}

async fn append(
    conn: &mut SqliteConnection,
    batch: Vec<NewMessage>,
) -> StoreResult<Vec<StoreResult<Appended>>> {
    match try_append(conn, &batch, HashSet::new()).await {
        // Ids are random, so nobody pays for looking whether they are free before there is a reason to.
        Err(error) if error.kind() == StoreErrorKind::AlreadyExists(Unique::Id) => {
            writer::execute(conn, "ROLLBACK").await?;
            let query =
                "SELECT id FROM messenger_messages WHERE id IN (SELECT unhex(value) FROM json_each($1))";
            let query = sqlx::query(query).bind(json_ids(batch.iter().map(|new| &new.id)));
            let known = sql::all(conn, query, |columns| columns.id()).await?;
            try_append(conn, &batch, known.into_iter().collect()).await
        }
        result => result,
    }
}

async fn try_append(
    conn: &mut SqliteConnection,
    batch: &[NewMessage],
    known: HashSet<MessageId>,
) -> StoreResult<Vec<StoreResult<Appended>>> {
    let mut desk = Desk::look(conn, batch, known).await?;
    let answers: Vec<_> = batch.iter().map(|new| desk.take(new)).collect();
    desk.store(conn).await?;
    let mut fresh = desk.fresh.into_iter();
    let answers = answers.into_iter().map(|answer| match answer {
        Answer::New => {
            fresh.next().map(|fresh| Appended::New(fresh.message)).ok_or(StoreErrorKind::Other.into())
        }
        Answer::Existing(message) => Ok(Appended::Existing(*message)),
        Answer::Refused(kind) => Err(kind.into()),
    });
    Ok(answers.collect())
}

/// Gives out numbers, by what is stored at the beginning of the transaction.
struct Desk<'b> {
    heads: HashMap<ChatId, Head>,
    /// The senders, with the last message of this batch.
    members: HashMap<(ChatId, UserId), Option<Mark>>,
    /// What was stored before under a client id of this batch: hardly ever anything.
    stored: Vec<MessageRecord>,
    /// Where in `fresh` the messages with client ids are.
    named: HashMap<(UserId, &'b str), usize>,
    ids: HashSet<MessageId>,
    fresh: Vec<Fresh>,
}

struct Head {
    revision: Revision,
    last_seq: Seq,
    texts: u64,
    /// When the last message of this batch was sent.
    activity_at: Option<Timestamp>,
}

struct Mark {
    seq: Seq,
    texts: u64,
}

struct Fresh {
    message: MessageRecord,
    texts: u64,
}

enum Answer {
    /// The next one of the fresh.
    New,
    Existing(Box<MessageRecord>),
    Refused(StoreErrorKind),
}

impl<'b> Desk<'b> {
    /// Begins the transaction.
    async fn look(
        conn: &mut SqliteConnection,
        batch: &'b [NewMessage],
        ids: HashSet<MessageId>,
    ) -> StoreResult<Self> {
        let mut desk = Self {
            heads: HashMap::new(),
            members: HashMap::new(),
            stored: vec![],
            named: HashMap::new(),
            ids,
            fresh: Vec::with_capacity(batch.len()),
        };
        let (query, places) = Self::question(batch);
        let mut statement = 0;
        let mut rows = conn.fetch_many(query);
        while let Some(step) = rows.try_next().await.map_err(store_error)? {
            match step {
                Either::Left(_) => statement += 1,
                Either::Right(row) if statement == 1 => desk.learn_place(&places, &mut Columns::of(&row))?,
                Either::Right(row) => desk.stored.push(Columns::of(&row).message()?),
            }
        }
        Ok(desk)
    }

    /// The statements, and the places that are asked about in the first of them.
    fn question(batch: &[NewMessage]) -> (Query<'static>, Vec<(ChatId, UserId)>) {
        let size = Batched::size(batch.len());
        let mut asked = HashSet::new();
        let places = batch.iter().map(|new| (new.chat, new.sender)).filter(|place| asked.insert(*place));
        let places: Vec<_> = places.collect();
        let mut query = sqlx::query(LOOK.of(size));
        for (chat, sender) in &places {
            query = query.id(*chat).id(*sender);
        }
        query = query.nulls((size - places.len()) * 2);
        for new in batch {
            query = match &new.client_id {
                Some((name, _)) => query.id(new.sender).bind(name.as_str()),
                None => query.nulls(2),
            };
        }
        (query.nulls((size - batch.len()) * 2), places)
    }

    fn learn_place(
        &mut self,
        places: &[(ChatId, UserId)],
        columns: &mut Columns<'_, SqliteRow>,
    ) -> StoreResult<()> {
        let place = *places.get(columns.index()?).ok_or(StoreErrorKind::Corrupt)?;
        let head = Head {
            revision: columns.revision()?,
            last_seq: columns.seq()?,
            texts: columns.number()?,
            activity_at: None,
        };
        self.heads.insert(place.0, head);
        self.members.insert(place, None);
        Ok(())
    }

    /// Answers for one message and gives out its numbers.
    fn take(&mut self, new: &'b NewMessage) -> Answer {
        let Some(mark) = self.members.get_mut(&(new.chat, new.sender)) else {
            return Answer::Refused(StoreErrorKind::NotMember);
        };
        let name = new.client_id.as_ref().map(|(name, _)| name);
        if let Some(name) = name {
            let stored = self
                .stored
                .iter()
                .find(|stored| stored.sender == new.sender && stored.client_id.as_ref() == Some(name));
            let earlier = || self.named.get(&(new.sender, name.as_str())).and_then(|at| self.fresh.get(*at));
            if let Some(message) = stored.or_else(|| earlier().map(|fresh| &fresh.message)) {
                return Answer::Existing(Box::new(message.clone()));
            }
        }
        let Some(head) = self.heads.get_mut(&new.chat) else {
            return Answer::Refused(StoreErrorKind::NotMember);
        };
        if !self.ids.insert(new.id) {
            return Answer::Refused(StoreErrorKind::AlreadyExists(Unique::Id));
        }
        head.advance(new.created_at);
        *mark = Some(Mark { seq: head.last_seq, texts: head.texts });
        if let Some(name) = name {
            self.named.insert((new.sender, name.as_str()), self.fresh.len());
        }
        self.fresh.push(Fresh { message: text_message(new, head), texts: head.texts });
        Answer::New
    }

    /// Stores what was given out, and commits.
    async fn store(&self, conn: &mut SqliteConnection) -> StoreResult<()> {
        if self.fresh.is_empty() {
            return writer::execute(conn, "COMMIT").await;
        }
        let size = Batched::size(self.fresh.len());
        let query = self.bind_messages(sqlx::query(STORE.of(size)), size);
        let query = self.bind_marks(self.bind_heads(query, size), size);
        sql::run(conn, query).await.map(drop)
    }

    fn bind_messages<'q>(&self, mut query: Query<'q>, size: usize) -> Query<'q> {
        for Fresh { message, texts } in &self.fresh {
            query = query
                .id(message.chat)
                .number(message.seq.get())
                .id(message.id)
                .id(message.sender)
                .number(message.revision.get())
                .number(*texts)
                .bind(message.body.as_ref().map(|body| body.0.as_slice()))
                .bind(message.client_id.as_ref().map(ClientId::as_str))
                .bind(message.fingerprint.as_ref().map(|fingerprint| fingerprint.0.as_slice()))
                .bind(message.reply_to.as_ref().map(|id| id.as_bytes().as_slice()))
                .time(message.created_at);
        }
        query.nulls((size - self.fresh.len()) * 11)
    }

    fn bind_heads<'q>(&self, mut query: Query<'q>, size: usize) -> Query<'q> {
        let mut bound = 0;
        for (chat, head) in &self.heads {
            let Some(activity_at) = head.activity_at else { continue };
            query = query
                .id(*chat)
                .number(head.revision.get())
                .number(head.last_seq.get())
                .number(head.texts)
                .time(activity_at);
            bound += 1;
        }
        query.nulls((size - bound) * 5)
    }

    fn bind_marks<'q>(&self, mut query: Query<'q>, size: usize) -> Query<'q> {
        let mut bound = 0;
        for ((chat, sender), mark) in &self.members {
            let Some(mark) = mark else { continue };
            query = query.id(*chat).id(*sender).number(mark.seq.get()).number(mark.texts);
            bound += 1;
        }
        query.nulls((size - bound) * 4)
    }
}

impl Head {
    fn advance(&mut self, at: Timestamp) {
        self.revision = self.revision.next();
        self.last_seq = self.last_seq.next();
        self.texts += 1;
        self.activity_at = Some(at);
    }
}

fn text_message(new: &NewMessage, head: &Head) -> MessageRecord {
    MessageRecord {
        id: new.id,
        chat: new.chat,
        seq: head.last_seq,
        created_revision: head.revision,
        revision: head.revision,
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
