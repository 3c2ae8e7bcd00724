//! Appends a batch of messages: two exchanges with the connection's thread and one commit, for any number of messages,
//! chats and senders.

use std::collections::{HashMap, HashSet};

use futures::TryStreamExt as _;
use messenger_core::{
    ChatId, ClientId, MessageId, Revision, Seq, Timestamp, UserId,
    ports::{Appended, MessageRecord, NewMessage, StoreErrorKind, StoreResult, Unique},
};
use messenger_sql::{columns::MESSAGE, records::text_message};
use sqlx::{Either, Executor as _, SqliteConnection};

use super::{
    errors::store_error,
    sql::{self, Batched, Bind as _, Columns, Query, json_ids, numbered_values, values},
    writer::{self, NEXT_COMMIT, THIS_COMMIT},
};
use crate::row::Fetched;

/// First the heads of the chats that the senders are members of, unless they are erased, with whether the other person of a
/// direct chat is; then the messages stored under the same client ids.
pub(super) static LOOK: Batched = Batched::new(|size| {
    format!(
        "BEGIN IMMEDIATE;
        SELECT v.column1, c.revision, c.last_seq, c.texts, c.unread_since IS NULL, EXISTS (
            SELECT 1 FROM messenger_users AS o WHERE o.erased_at IS NOT NULL AND o.id =
                CASE WHEN substr(c.pair, 1, 16) = v.column3 THEN substr(c.pair, 17) ELSE substr(c.pair, 1, 16) END
        )
        FROM (VALUES {}) AS v
        CROSS JOIN messenger_chats AS c ON c.id = v.column2
        CROSS JOIN messenger_members AS p ON p.chat_id = c.id AND p.user_id = v.column3
        CROSS JOIN messenger_users AS u ON u.id = v.column3
        WHERE p.left_at IS NULL AND u.erased_at IS NULL;
        SELECT {MESSAGE}
        FROM (VALUES {}) AS v
        CROSS JOIN messenger_messages AS m ON m.sender_id = v.column1 AND m.client_id = v.column2",
        numbered_values(size, 2),
        values(size, 2)
    )
});

/// Stores the messages, the heads of their chats and the marks of their senders.
///
/// `OR FAIL` saves SQLite the journal for undoing a single statement. The plus signs keep the planner from scanning all
/// chats and members to find those in the values.
pub(super) static STORE: Batched = Batched::new(|size| {
    format!(
        "INSERT OR FAIL INTO messenger_messages (chat_id, seq, id, sender_id, kind, created_revision, revision, texts, body,
            client_id, fingerprint, reply_to, created_at)
        SELECT column1, column2, column3, column4, 0, column5, column5, column6, column7, column8, column9,
            column10, column11
        FROM (VALUES {}) WHERE column1 IS NOT NULL;
        {NEXT_COMMIT};
        UPDATE OR FAIL messenger_chats AS c
        SET revision = v.column2, last_seq = v.column3, texts = v.column4, activity_at = v.column5,
            commit_no = {THIS_COMMIT}
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

/// Says since when something may be unread, where nothing was. Apart from the other numbers of the head: SQLite writes the
/// entry in the index anew with every statement that names the column, whether or not the value is another one.
pub(super) static MARK_UNREAD: Batched = Batched::new(|size| {
    format!(
        "UPDATE OR FAIL messenger_chats AS c SET unread_since = v.column2, unread_seq = v.column3
        FROM (VALUES {}) AS v WHERE c.id = +v.column1",
        values(size, 3)
    )
});

pub(super) async fn append(
    conn: &mut SqliteConnection,
    batch: Vec<NewMessage>,
) -> StoreResult<Vec<StoreResult<Appended>>> {
    match try_append(conn, &batch, HashSet::new()).await {
        // Ids are random, so they are only checked for being free once there is a reason to.
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
    let mut sequencer = Sequencer::load(conn, batch, known).await?;
    let answers: Vec<_> = batch.iter().map(|new| sequencer.take(new)).collect();
    sequencer.store(conn).await?;
    let mut fresh = sequencer.fresh.into_iter();
    let answers = batch.iter().zip(answers).map(|(new, answer)| match answer {
        Answer::New => {
            fresh.next().map(|fresh| Appended::New(fresh.message)).ok_or(StoreErrorKind::Other.into())
        }
        Answer::Existing(message) => Ok(Appended::existing(*message, new)),
        Answer::Refused(kind) => Err(kind.into()),
    });
    Ok(answers.collect())
}

/// Assigns numbers, based on what is stored at the beginning of the transaction.
struct Sequencer<'b> {
    heads: HashMap<ChatId, Head>,
    /// The senders, with their last message of this batch.
    members: HashMap<(ChatId, UserId), Option<Mark>>,
    /// The messages stored earlier under a client id of this batch: usually none.
    stored: Vec<MessageRecord>,
    /// The indexes in `fresh` of messages with client ids.
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
    has_unread: bool,
    /// Nobody reads what would be written: it is a direct chat, and the other person is erased.
    is_over: bool,
    /// The first message of this batch, where there was nothing unread before.
    first_unread: Option<(Timestamp, Seq)>,
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
    /// The next message in `fresh`.
    New,
    Existing(Box<MessageRecord>),
    Refused(StoreErrorKind),
}

impl<'b> Sequencer<'b> {
    /// Begins the transaction.
    async fn load(
        conn: &mut SqliteConnection,
        batch: &'b [NewMessage],
        ids: HashSet<MessageId>,
    ) -> StoreResult<Self> {
        let mut sequencer = Self {
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
                Either::Right(row) if statement == 1 => {
                    sequencer.learn_place(&places, &mut Columns::of(&Fetched(row)))?;
                }
                Either::Right(row) => sequencer.stored.push(Columns::of(&Fetched(row)).message()?),
            }
        }
        Ok(sequencer)
    }

    /// The query, and the memberships that its first statement asks for.
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

    fn learn_place(&mut self, places: &[(ChatId, UserId)], columns: &mut Columns<'_>) -> StoreResult<()> {
        let place = *places.get(columns.index()?).ok_or(StoreErrorKind::Corrupt)?;
        let head = Head {
            revision: columns.revision()?,
            last_seq: columns.seq()?,
            texts: columns.number()?,
            activity_at: None,
            has_unread: columns.integer()? == 0,
            is_over: columns.integer()? != 0,
            first_unread: None,
        };
        self.heads.insert(place.0, head);
        self.members.insert(place, None);
        Ok(())
    }

    /// Decides the answer for one message and assigns its numbers.
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
        if head.is_over {
            return Answer::Refused(StoreErrorKind::NotMember);
        }
        if !self.ids.insert(new.id) {
            return Answer::Refused(StoreErrorKind::AlreadyExists(Unique::Id));
        }
        head.advance(new.created_at);
        *mark = Some(Mark { seq: head.last_seq, texts: head.texts });
        if let Some(name) = name {
            self.named.insert((new.sender, name.as_str()), self.fresh.len());
        }
        self.fresh
            .push(Fresh { message: text_message(new, head.last_seq, head.revision), texts: head.texts });
        Answer::New
    }

    /// Stores the new messages and numbers, and commits.
    async fn store(&self, conn: &mut SqliteConnection) -> StoreResult<()> {
        if self.fresh.is_empty() {
            return writer::execute(conn, "COMMIT").await;
        }
        self.mark_unread(conn).await?;
        let size = Batched::size(self.fresh.len());
        let query = self.bind_messages(sqlx::query(STORE.of(size)), size);
        let query = self.bind_marks(self.bind_heads(query, size), size);
        sql::run(conn, query).await.map(drop)
    }

    async fn mark_unread(&self, conn: &mut SqliteConnection) -> StoreResult<()> {
        let marks = self.heads.iter().filter_map(|(chat, head)| Some((chat, head.first_unread?)));
        let marks: Vec<_> = marks.collect();
        if marks.is_empty() {
            return Ok(());
        }
        let size = Batched::size(marks.len());
        let mut query = sqlx::query(MARK_UNREAD.of(size));
        for (chat, (at, seq)) in &marks {
            query = query.id(**chat).time(*at).number(seq.get());
        }
        sql::run(conn, query.nulls((size - marks.len()) * 3)).await.map(drop)
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
        if !self.has_unread {
            self.has_unread = true;
            self.first_unread = Some((at, self.last_seq));
        }
    }
}
