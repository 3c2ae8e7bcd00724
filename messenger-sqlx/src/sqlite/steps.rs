//! Checks that the cost of an intent depends on the size of its answer, and not on how much is stored: counted in
//! instructions of SQLite's virtual machine, first in a small analysed database, and again after it has grown a
//! thousandfold.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use messenger_core::{
    ChatId, Revision, Role, Seq, SessionId, SystemEvent, Timestamp, TokenHash, UserId, Username,
    ports::{
        Anchor, Budget, ClaimJobs, Content, DeleteMessage, EditMessage, FinishedJob, JobFilter, JobOutcome,
        JobPriority, JobState, KeyId, LoginKey, MessageRecord, MoveMarker, NamePlace, NewJob, Rewrap,
        RosterChange, Store, StoreResult, StoredKey, StoredName, UniqueJob, UpdateUser, WrappedKey,
    },
    testkit::World,
};
use sqlx::{AssertSqlSafe, SqliteConnection};
use tempfile::TempDir;

use super::{SqliteStore, errors::store_error};

/// Everybody has a username and a display name with this prefix.
const PREFIX: &str = "na";
const PAGE: usize = 20;
const WHOLE: Budget = Budget::of_messages(PAGE);
/// More than it takes to write everything that the database grows by, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

struct Scene {
    world: World,
    store: Arc<SqliteStore>,
    steps: Arc<AtomicU64>,
    _directory: TempDir,
    people: Vec<UserId>,
    chats: Vec<ChatId>,
    messages: Vec<MessageRecord>,
    token: TokenHash,
    session: SessionId,
}

impl Scene {
    /// A small database with statistics, opened by a process that has started since.
    async fn small() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chat.db");
        let store = Arc::new(SqliteStore::open(&path).await.unwrap());
        let mut world = World::new(Arc::clone(&store) as Arc<dyn Store>);
        let mut people = vec![];
        for n in 0..60 {
            let (mut user, session) = world.account(&format!("name{n}"));
            user.display_name =
                StoredName::from(&messenger_core::DisplayName::trusted(format!("Name {}", n % 2)));
            people.push(user.id);
            world.store.create_user(user, session).await.unwrap();
        }
        let mut chats = vec![];
        for n in 1..8 {
            chats.push(world.group([people[0], people[n], people[n + 1], people[n + 2]]).await);
        }
        let mut messages = vec![];
        for _ in 0..60 {
            messages.push(world.send(chats[0], people[0], "hello").await);
        }
        for message in &messages[30..] {
            world.edit(message, "other").await;
        }
        let session = world.session(people[0]);
        let (token, id) = (session.token_hash, session.id);
        world.log_in(session, 100).await.unwrap();
        execute(&store, "ANALYZE").await;
        store.close().await;

        let store = Arc::new(SqliteStore::builder(&path).readers(1).timeout(PATIENCE).open().await.unwrap());
        world.store = Arc::clone(&store) as Arc<dyn Store>;
        let steps = Arc::new(AtomicU64::new(0));
        let scene =
            Self { world, store, steps, _directory: directory, people, chats, messages, token, session: id };
        scene.count().await;
        scene
    }

    /// Counts the instructions of both connections.
    async fn count(&self) {
        fn count(conn: &mut SqliteConnection, steps: Arc<AtomicU64>) -> BoxFuture<'_, StoreResult<()>> {
            Box::pin(async move {
                let mut handle = conn.lock_handle().await.map_err(store_error)?;
                handle.set_progress_handler(1, move || {
                    steps.fetch_add(1, Relaxed);
                    true
                });
                Ok(())
            })
        }
        let (read, written) = (Arc::clone(&self.steps), Arc::clone(&self.steps));
        self.store.readers.run(|conn| count(conn, read)).await.unwrap();
        self.store.writer.run(|conn| count(conn, written)).await.unwrap();
    }

    /// Adds a thousand times as much, also to the same people and chats, where an answer contains only a part of it.
    async fn grow(&self) {
        let chat = self.chats[0].as_uuid().simple();
        execute(&self.store, format!("
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
            INSERT INTO messenger_users (id, username, display_name, display_folded, email_key, notify_email,
                created_at, version, memberships)
            SELECT unhex(format('%032x', i)), 'name~' || format('%08d', i), 'Name', 'name ' || (i % 2), randomblob(8),
                1, i, 1, 1 FROM n;
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
            INSERT INTO messenger_users (id, username, display_name, notify_email, created_at, erased_at, version,
                memberships)
            SELECT randomblob(16), 'na-deleted' || i, 'Deleted', 0, 1, 1, 1, 1 FROM n;
            INSERT INTO messenger_sessions
            SELECT randomblob(32), randomblob(16), id, NULL, 1, 1, 1 + created_at FROM messenger_users;
            INSERT INTO messenger_chats (id, kind, created_at, activity_at, revision, last_seq, texts, member_count,
                roster_version, commit_no)
            SELECT id, 1, 1, 1, 20, 20, 20, 2, 1, 1 FROM messenger_users WHERE display_name = 'Name' AND created_at <= 20000;
            INSERT INTO messenger_members (chat_id, user_id, role, joined_at, join_order, read_seq, read_texts,
                delivered_seq)
            SELECT id, id, 0, 1, 1, 0, 0, 0 FROM messenger_users WHERE display_name = 'Name' AND created_at <= 20000;
            INSERT INTO messenger_messages (id, chat_id, seq, sender_id, kind, created_revision, revision, texts,
                created_at, client_id)
            SELECT randomblob(16), id, 1, id, 0, 1, 20, 1, 1, hex(id) FROM messenger_users
            WHERE display_name = 'Name' AND created_at <= 20000;
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
            INSERT INTO messenger_messages (id, chat_id, seq, sender_id, kind, created_revision, revision, texts,
                created_at, body)
            SELECT randomblob(16), c.id, c.last_seq + i, randomblob(16), 0, c.revision + i,
                c.revision + i + 60000 * (i % 2), c.texts + i, 1, x'00'
            FROM n, messenger_chats AS c WHERE c.id = x'{chat}';
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
            INSERT INTO messenger_jobs (id, kind, priority, state, run_at, attempt, max_attempts, claims, created_at,
                ended_at, unique_key, payload)
            SELECT randomblob(16), 'mail', 1, 3 + i % 3, 1, 1, 3, 1, 1, 9, 'k', x'00' FROM n;
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
            INSERT INTO messenger_jobs (id, kind, priority, state, run_at, attempt, max_attempts, claims, created_at,
                payload)
            SELECT randomblob(16), 'mail', i % 3, 0, 1 << 60, 0, 3, 0, 1, x'00' FROM n;
            INSERT INTO messenger_keys (owner, number, wrapped, created_at) SELECT id, 1, x'00', 1 FROM messenger_users;
            UPDATE messenger_chats SET last_seq = last_seq + 60000, revision = revision + 120000, texts = texts + 60000
            WHERE id = x'{chat}'"))
        .await;
    }

    /// A key of a new person.
    fn key(&self) -> StoredKey {
        let (id, created_at) = (KeyId::of_user(self.world.id()), self.world.tick());
        StoredKey { id, wrapped: Some(WrappedKey(vec![1])), created_at, destroyed_at: None }
    }

    /// A job that is due.
    fn job(&self, key: Option<&str>) -> NewJob {
        let created_at = self.world.tick();
        NewJob {
            id: self.world.id(),
            kind: "mail".parse().unwrap(),
            payload: Content::from("{}"),
            priority: JobPriority::Low,
            run_at: created_at,
            max_attempts: 3,
            unique: key.map(|key| UniqueJob { key: key.to_owned(), since: Some(created_at) }),
            after: None,
            created_at,
        }
    }

    async fn steps_of(&self, intent: &Intent) -> u64 {
        // The first run prepares the statements.
        for _ in 0..2 {
            self.steps.store(0, Relaxed);
            (intent.1)(self).await.unwrap();
        }
        self.steps.load(Relaxed)
    }
}

async fn execute(store: &SqliteStore, text: impl Into<String>) {
    let text = AssertSqlSafe(text.into());
    let done = store.writer.run(|conn| {
        Box::pin(async move { sqlx::raw_sql(text).execute(conn).await.map(drop).map_err(store_error) })
    });
    done.await.unwrap();
}

type Ask = for<'s> fn(&'s Scene) -> BoxFuture<'s, StoreResult<()>>;
type Intent = (&'static str, Ask);

/// An intent whose answer is ignored.
macro_rules! intents {
    ($($name:literal: |$scene:ident| $ask:expr;)*) => {
        [$(($name, |$scene| Box::pin(async move { $ask.await.map(drop) }))),*]
    };
}

fn after(name: &str, username: &str) -> NamePlace {
    NamePlace { name: name.to_owned(), username: Username::trusted(username) }
}

const READS: &[Intent] = &intents! {
    "user": |s| s.world.store.user(s.people[0]);
    "users": |s| s.world.store.users(&s.people[..3]);
    "user_by_login, name": |s| async {
        s.world.store.user_by_login(LoginKey::Username(&Username::trusted("name1"))).await
    };
    "user_by_login, address": |s| s.world.store.user_by_login(LoginKey::Email(b"name1@example.org"));
    "find_users": |s| s.world.store.find_users(PREFIX, None, PAGE);
    "find_users, among usernames": |s| async {
        s.world.store.find_users(PREFIX, Some(&after("name20", "name20")), PAGE).await
    };
    "find_users, among display names": |s| async {
        s.world.store.find_users(PREFIX, Some(&after("name 0", "name2")), PAGE).await
    };
    "find_users, nobody": |s| s.world.store.find_users("nb", None, PAGE);
    "session_by_token": |s| s.world.store.session_by_token(&s.token);
    "sessions": |s| s.world.store.sessions(s.people[0]);
    "existing_sessions": |s| async { s.world.store.existing_sessions(&[s.session]).await };
    "chat_views": |s| s.world.store.chat_views(s.people[0], &s.chats[1..4], 100);
    "list_chats": |s| s.world.store.list_chats(s.people[0], None, 5, 100);
    "membership": |s| s.world.store.membership(s.chats[0], s.people[0]);
    "roster": |s| s.world.store.roster(s.chats[0]);
    "memberships": |s| s.world.store.memberships(s.people[0], None);
    "membership_counts": |s| s.world.store.membership_counts(&s.people[..3]);
    "revisions": |s| s.world.store.revisions(&s.chats[..3]);
    "chats_ever_joined": |s| s.world.store.chats_ever_joined(s.people[0]);
    "message": |s| s.world.store.message(s.chats[0], s.messages[0].id);
    "history, newest": |s| s.world.store.history(s.chats[0], s.people[0], Anchor::Newest, WHOLE);
    "history, before": |s| s.world.store.history(s.chats[0], s.people[0], Anchor::Before(Seq::new(50)), WHOLE);
    "history, after": |s| s.world.store.history(s.chats[0], s.people[0], Anchor::After(Seq::new(20)), WHOLE);
    "history, around": |s| s.world.store.history(s.chats[0], s.people[0], Anchor::Around(Seq::new(30)), WHOLE);
    "changes, of many": |s| async { s.world.store.changes(&[(s.chats[0], Revision::ZERO)], WHOLE).await };
    "changes, none": |s| async { s.world.store.changes(&[(s.chats[0], Revision::new(1 << 40))], WHOLE).await };
};

/// Without `erase_messages`: it scans the messages of a chat, because there is no index for such a rare operation.
const WRITES: &[Intent] = &intents! {
    "ping": |s| s.world.store.ping();
    "append_messages": |s| async {
        let batch = [s.world.text(s.chats[0], s.people[0], "hello"), s.world.named(s.chats[1], s.people[0], "you", "x")];
        s.world.store.append_messages(&batch).await
    };
    "move_markers": |s| async {
        let step = MoveMarker { chat: s.chats[0], user: s.people[1], seq: Seq::new(7), read: true };
        s.world.store.move_markers(&[step]).await
    };
    "edit_message": |s| async {
        let message = s.world.send(s.chats[2], s.people[0], "text").await;
        let (chat, expected, body) = (message.chat, message.revision, Content::from("other"));
        let (message, sender, edited_at) = (message.id, message.sender, s.world.tick());
        let edit = EditMessage { chat, message, sender, expected, body, edited_at };
        s.world.store.edit_message(edit).await
    };
    "delete_message": |s| async {
        let message = s.world.send(s.chats[2], s.people[0], "text").await;
        let (chat, expected) = (message.chat, message.revision);
        let delete = DeleteMessage { chat, message: message.id, expected, deleted_at: s.world.tick() };
        s.world.store.delete_message(delete).await
    };
    "open_direct": |s| s.world.store.open_direct(s.world.new_direct(s.people[0], s.people[1]));
    "create_group": |s| s.world.store.create_group(s.world.new_group(s.people[50], &s.people[51..54]));
    "change_roster": |s| async {
        let roles = vec![(s.people[4], Role::Admin)];
        let change = RosterChange { roles, ..s.world.change_by(s.chats[3], s.people[0]).await };
        assert_eq!(change.messages.len(), 1, "{:?}", SystemEvent::TitleChanged);
        s.world.store.change_roster(change).await
    };
    "set_mute": |s| s.world.store.set_mute(s.chats[0], s.people[0], None);
    "set_last_seen": |s| async { s.world.store.set_last_seen(&[(s.people[0], s.world.tick())]).await };
    "create_user": |s| async {
        let (user, session) = s.world.account(&format!("other{}", s.world.tick().as_micros()));
        s.world.store.create_user(user, session).await
    };
    "update_user": |s| async {
        let (id, expected) = (s.people[9], s.world.record(s.people[9]).await.version);
        s.world.store.update_user(UpdateUser { notify_email: Some(true), ..UpdateUser::of(id, expected) }).await
    };
    "change_password": |s| async {
        let version = s.world.record(s.people[8]).await.version;
        s.world.store.change_password(s.people[8], version, "$hash", None).await
    };
    "create_session": |s| s.world.log_in(s.world.session(s.people[7]), 1);
    "touch_session": |s| s.world.store.touch_session(s.session, Timestamp::from_micros(1), Timestamp::from_micros(2));
    "enqueue_jobs": |s| async { s.world.store.enqueue_jobs(&[s.job(None), s.job(Some("k"))]).await };
    "claim_jobs and finish_jobs": |s| async {
        s.world.store.enqueue_jobs(&[s.job(None)]).await?;
        let now = s.world.tick();
        let claim = ClaimJobs { kinds: vec![("mail".parse().unwrap(), 1)], now, until: now };
        let claimed = s.world.store.claim_jobs(&claim).await?;
        let finished = FinishedJob { claim: claimed[0].claim, outcome: JobOutcome::Done };
        s.world.store.finish_jobs(&[finished], now).await
    };
    "jobs": |s| async {
        let filter = JobFilter { state: Some(JobState::Cancelled), ..JobFilter::default() };
        s.world.store.jobs(&filter, None, 1).await
    };
    "create_keys, keys and rewrap_keys": |s| async {
        let key = s.key();
        let (id, wrapped) = (key.id, WrappedKey(vec![1]));
        s.world.store.create_keys(&[key.clone(), key]).await?;
        s.world.store.keys(&[id]).await?;
        s.world.store.rewrap_keys(&[Rewrap { id, expected: wrapped.clone(), wrapped }]).await
    };
    "list_keys": |s| s.world.store.list_keys(None, 1);
    "destroy_keys": |s| async { s.world.store.destroy_keys(s.world.id(), s.world.tick()).await };
    "prune_jobs": |s| s.world.store.prune_jobs(Timestamp::from_micros(0), 10);
    "remove_expired_sessions": |s| s.world.store.remove_expired_sessions(Timestamp::from_micros(0), 10);
};

#[tokio::test]
async fn an_intent_costs_what_it_answers_however_much_is_stored() {
    let scene = Scene::small().await;
    let intents = || READS.iter().chain(WRITES);
    let mut small = vec![];
    for intent in intents() {
        small.push(scene.steps_of(intent).await);
    }
    scene.grow().await;
    let mut grown = vec![];
    for (intent, small) in intents().zip(small) {
        let large = scene.steps_of(intent).await;
        // Small differences are allowed: ids are at other positions in a page, and a name is shared by more or fewer
        // accounts.
        if large > small + small / 2 + 100 {
            grown.push(format!("{}: {small} steps, then {large}", intent.0));
        }
    }
    assert!(grown.is_empty(), "{grown:#?}");
}
