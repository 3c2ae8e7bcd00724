//! That tables are read by their indexes, and nothing that grows is sorted: by the plans that the server used, those of
//! statements inside of functions included, in a database with a chat of 1,000,000 messages and a person in 5,000 chats.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use crate::support::plans::{Plans, SETTINGS, TELL};
use messenger_core::{
    ChatId, MessageId, RetentionPeriod, Revision, Seq, Timestamp, UserId, Username,
    context::Context,
    ports::{
        Anchor, AskOverdue, AskUnread, Budget, ChatStore as _, ClaimJobs, ClaimUnread, Content,
        DeleteMessage, DirectChat, EditMessage, FinishedJob, HoldSubject, JobChange, JobCounts, JobFilter,
        JobKind, JobOutcome, JobPriority, JobState, JobStore as _, KeyId, KeyStore as _, LoginKey,
        MailOutcome, MarkerStore as _, MessageStore as _, MoveMarker, NewJob, NewMessage, Notified,
        PendingChat, RetentionStore as _, Rewrap, SeenPlace, SessionStore as _, Store, StoreResult,
        StoredKey, Told, UniqueJob, UnreadStore as _, UserStore as _, WrappedKey,
    },
};
use messenger_sqlx::{PostgresBuilder, PostgresStore};
use messenger_testing::{PrivateServer, connect, execute};
use sqlx::postgres::PgPoolOptions;

/// What an intent may sort.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sorts {
    Nothing,
    /// The first of many, without keeping the others.
    Top,
    /// What it was given, or what one person has few of.
    Few,
}

#[tokio::test]
async fn every_table_is_read_by_an_index_and_nothing_that_grows_is_sorted() {
    let plans = Plans::default();
    tracing::subscriber::set_global_default(plans.clone()).unwrap();
    let server = PrivateServer::start(&SETTINGS);
    let store = PostgresStore::connect(server.url()).await.unwrap();
    let large = Large::fill(server.url(), &store).await;
    execute(&mut connect(server.url()).await, TELL).await;
    store.close().await;

    // It is about plans: what a busy machine takes for them is no matter.
    let patient = |builder: PostgresBuilder| builder.statement_timeout(PATIENCE).timeout(2 * PATIENCE).open();
    let own = patient(PostgresStore::builder(server.url())).await.unwrap();
    large.check_all(&own, &plans).await;
    // With nothing said to the planner.
    let pool = PgPoolOptions::new().max_connections(2).connect(server.url()).await.unwrap();
    let shared = patient(PostgresStore::with_pool(pool)).await.unwrap();
    large.check_all(&shared, &plans).await;
}

const PATIENCE: Duration = Duration::from_secs(60);
const MESSAGES: u64 = 1_000_000;
const CHATS: u64 = 5000;
/// Those that have ended.
const JOBS: u64 = 200_000;

/// A chat of a million messages, and a person who is in it and in many others.
struct Large {
    context: Context,
    chat: ChatId,
    person: UserId,
    others: Vec<ChatId>,
}

impl Large {
    async fn fill(url: &str, store: &PostgresStore) -> Self {
        let context = Context::system();
        let (chat, person) = (context.id(), context.id());
        let rows = format!(
            "INSERT INTO messenger.messenger_users (id, username, display_name, display_folded, notify_email, created_at,
                version, memberships)
            SELECT CASE n WHEN 1 THEN '{person}' ELSE gen_random_uuid() END, 'name' || n, 'Name ' || n, 'name ' || n,
                true, n, 1, 0 FROM generate_series(1, 20000) AS n;
            INSERT INTO messenger.messenger_sessions (token_hash, id, user_id, created_at, last_used_at, expires_at)
            SELECT sha256(id::text::bytea), id, id, 1, 1, 1 FROM messenger.messenger_users;
            INSERT INTO messenger.messenger_chats (id, kind, created_at, activity_at, revision, last_seq, texts,
                member_count, roster_version, commit_no)
            SELECT CASE n WHEN 1 THEN '{chat}' ELSE gen_random_uuid() END, 1, n, n, 20, 20, 20, 21, 1, 1
            FROM generate_series(1, 4 * {CHATS}) AS n;
            INSERT INTO messenger.messenger_members (chat_id, user_id, role, joined_at, join_order, read_seq, read_texts,
                delivered_seq)
            SELECT c.id, '{person}', 0, 1, 1, 0, 0, 0 FROM messenger.messenger_chats AS c
            WHERE c.id = '{chat}' OR c.created_at <= {CHATS}
            UNION ALL
            SELECT c.id, u.id, 0, 1, 1 + k, 0, 0, 0 FROM messenger.messenger_chats AS c
            CROSS JOIN generate_series(1, 20) AS k
            JOIN messenger.messenger_users AS u ON u.created_at = (c.created_at * 7 + k * 13) % 19000 + 2;
            UPDATE messenger.messenger_chats SET unread_since = created_at, unread_seq = 1 WHERE created_at % 10 = 0;
            UPDATE messenger.messenger_users SET last_seen_at = created_at WHERE created_at % 3 = 0;
            UPDATE messenger.messenger_chats SET revision = {MESSAGES} + 1000, last_seq = {MESSAGES}, texts = {MESSAGES}
            WHERE id = '{chat}';
            INSERT INTO messenger.messenger_messages (id, chat_id, seq, sender_id, kind, created_revision, revision, texts,
                created_at, client_id, fingerprint, body)
            SELECT gen_random_uuid(), '{chat}', n, '{person}', 0, n,
                CASE n % 1000 WHEN 0 THEN {MESSAGES} + n / 1000 ELSE n END, n, n, n::text,
                '\\x00112233445566778899aabbccddeeff', 'a hundred bytes or so'
            FROM generate_series(1, {MESSAGES}) AS n;
            INSERT INTO messenger.messenger_messages (id, chat_id, seq, sender_id, kind, created_revision, revision, texts,
                created_at, body)
            SELECT gen_random_uuid(), c.id, n, '{person}', 0, n, n, n, n, 'few'
            FROM messenger.messenger_chats AS c, generate_series(1, 20) AS n WHERE c.id <> '{chat}' AND n > 18;
            INSERT INTO messenger.messenger_jobs (id, run_at, created_at, ended_at, attempt, max_attempts, claims, priority,
                state, kind, unique_key, payload)
            SELECT gen_random_uuid(), n, n, n, 1, 3, 1, 1, CASE n % 1000 WHEN 0 THEN 4 ELSE 3 END, 'mail', n % 5000, 'x'
            FROM generate_series(1, {JOBS}) AS n;
            INSERT INTO messenger.messenger_jobs (id, run_at, created_at, attempt, max_attempts, claims, priority, state,
                kind, payload)
            SELECT gen_random_uuid(), n, n, 0, 3, 0, n % 3, 0, 'mail', 'x' FROM generate_series(1, 20000) AS n;
            INSERT INTO messenger.messenger_keys (owner, number, wrapped, created_at)
            SELECT id, 1, '\\x01', 1 FROM messenger.messenger_users"
        );
        let mut conn = connect(url).await;
        execute(&mut conn, rows).await;
        execute(&mut conn, "VACUUM ANALYZE").await;
        let heads = store.memberships(person, None).await.unwrap().chats;
        assert_eq!(heads.len() as u64, CHATS);
        let others = heads.into_iter().map(|chat| chat.head.chat).filter(|other| *other != chat).collect();
        Self { context, chat, person, others }
    }

    async fn check_all(&self, store: &PostgresStore, plans: &Plans) {
        self.check_reads(store, plans).await;
        self.check_writes(store, plans).await;
        self.check_jobs(store, plans).await;
        self.check_unread(store, plans).await;
        self.check_keys(store, plans).await;
        self.check_retention(store, plans).await;
    }

    async fn check_retention(&self, store: &PostgresStore, plans: &Plans) {
        let (now, retention) = (self.context.now(), Some(RetentionPeriod::SHORTEST));
        plans.take();
        let asked = AskOverdue { now, retention };
        done("overdue_chats", Sorts::Few, plans, store.overdue_chats(&asked, 100).await);
        let after = Some(self.context.id());
        done("purges", Sorts::Nothing, plans, store.purges(after, 100).await);
        done("holds", Sorts::Nothing, plans, store.holds(Some(HoldSubject::Chat(self.chat)), 100).await);
    }

    async fn check_keys(&self, store: &PostgresStore, plans: &Plans) {
        let (created_at, wrapped) = (self.context.now(), WrappedKey(vec![1]));
        let new = |_| StoredKey {
            id: KeyId::of_user(self.context.id()),
            wrapped: Some(wrapped.clone()),
            created_at,
            destroyed_at: None,
        };
        let new: Vec<_> = (0..10).map(new).collect();
        plans.take();
        done("create_keys", Sorts::Nothing, plans, store.create_keys(&new).await);
        done("create_keys, known", Sorts::Nothing, plans, store.create_keys(&new).await);
        let ids: Vec<_> = new.iter().map(|key| key.id).collect();
        done("keys", Sorts::Nothing, plans, store.keys(&ids).await);
        done("list_keys", Sorts::Nothing, plans, store.list_keys(Some(ids[0]), 100).await);
        let rewrap = |id: &KeyId| Rewrap { id: *id, expected: wrapped.clone(), wrapped: wrapped.clone() };
        let rewraps: Vec<_> = ids.iter().map(rewrap).collect();
        done("rewrap_keys", Sorts::Nothing, plans, store.rewrap_keys(&rewraps).await);
        done("destroy_keys", Sorts::Nothing, plans, store.destroy_keys(self.person, created_at).await);
    }

    async fn check_unread(&self, store: &PostgresStore, plans: &Plans) {
        // Not the large chat: all its messages are of a person who has read none of them, as nobody who sends has.
        let (chat, person, now) = (self.others[0], self.person, self.context.now());
        plans.take();
        let claim = ClaimUnread { due: now, now, until: now };
        let claimed = store.claim_unread_chats(&claim, 100).await.unwrap();
        assert_eq!(claimed.len(), 100);
        check("claim_unread_chats", Sorts::Nothing, plans);
        let asked = AskUnread { chat, due: now, now };
        done("unread_members", Sorts::Few, plans, store.unread_members(&asked, None, 1000).await);
        done("finish_unread_chat", Sorts::Nothing, plans, store.finish_unread_chat(&claimed[0], now).await);
        let reader = store.roster(self.others[0]).await.unwrap().members;
        let reader = reader.iter().map(|member| member.user_id).find(|user| *user != person).unwrap();
        plans.take();
        let pending = store.unread_chats(reader, now, now, 100).await.unwrap();
        assert!(!pending.is_empty());
        check("unread_chats", Sorts::Few, plans);
        let ranges: Vec<_> = pending.iter().map(PendingChat::range).collect();
        done("unread_lines", Sorts::Few, plans, store.unread_lines(reader, &ranges, 3).await);
        let told = store.user(reader).await.unwrap().mail.told;
        plans.take();
        let notified = Notified {
            user: reader,
            expected: told.map(|told| told.at),
            told: Told { at: now, since: now, times: 1 },
            ranges,
            jobs: vec![],
        };
        assert!(store.record_notified(&notified).await.unwrap());
        check("record_notified", Sorts::Few, plans);
        let after = SeenPlace { at: Timestamp::from_micros(0), user: person };
        done("people_last_seen", Sorts::Nothing, plans, store.people_last_seen(after, now, 100).await);
        done(
            "note_mail",
            Sorts::Nothing,
            plans,
            store.note_mail(person, b"key", MailOutcome::Accepted).await,
        );
        done("upgrade_password", Sorts::Nothing, plans, store.upgrade_password(person, "$a", "$b").await);
        done("confirm_email", Sorts::Nothing, plans, store.confirm_email(person, b"key", now).await);
    }

    async fn check_jobs(&self, store: &PostgresStore, plans: &Plans) {
        let kind: JobKind = "mail".parse().unwrap();
        plans.take();
        let plain: Vec<_> = (0..100).map(|_| self.job(&kind, None)).collect();
        done("enqueue_jobs", Sorts::Nothing, plans, store.enqueue_jobs(&plain).await);
        let keyed: Vec<_> = (0..100).map(|n| self.job(&kind, Some(4900 + n))).collect();
        done("enqueue_jobs, keyed", Sorts::Few, plans, store.enqueue_jobs(&keyed).await);
        let after: Vec<_> =
            plain.iter().map(|parent| NewJob { after: Some(parent.id), ..self.job(&kind, None) }).collect();
        done("enqueue_jobs, after others", Sorts::Few, plans, store.enqueue_jobs(&after).await);

        let now = self.context.now();
        let claim =
            ClaimJobs { kinds: vec![(kind.clone(), 100), ("none".parse().unwrap(), 5)], now, until: now };
        let claimed = store.claim_jobs(&claim).await.unwrap();
        assert_eq!(claimed.len(), 100);
        check("claim_jobs", Sorts::Nothing, plans);
        let claims: Vec<_> = claimed.iter().map(|claimed| claimed.claim).collect();
        done("renew_jobs", Sorts::Nothing, plans, store.renew_jobs(&claims, now).await);
        let finished = claims.iter().map(|claim| FinishedJob { claim: *claim, outcome: JobOutcome::Done });
        let finished = finished.collect::<Vec<_>>();
        assert_eq!(store.finish_jobs(&finished, now).await.unwrap(), [true; 100]);
        check("finish_jobs", Sorts::Nothing, plans);
        let dead = JobFilter { kind: Some(kind.clone()), state: Some(JobState::Dead) };
        assert_eq!(store.jobs(&dead, None, 50).await.unwrap().len(), 50);
        check("jobs, dead ones of a kind", Sorts::Nothing, plans);
        let of_state = JobFilter { state: Some(JobState::Done), ..JobFilter::default() };
        done("jobs, done ones", Sorts::Nothing, plans, store.jobs(&of_state, None, 50).await);
        done("jobs", Sorts::Nothing, plans, store.jobs(&JobFilter::default(), None, 50).await);
        done("job", Sorts::Nothing, plans, store.job(plain[0].id).await);
        let counts = store.job_counts(now).await.unwrap();
        check("job_counts", Sorts::Few, plans);
        let of_state = |count: fn(&JobCounts) -> u64| counts.iter().map(count).sum::<u64>();
        assert_eq!(of_state(|of| of.done), JobCounts::MOST as u64, "no more are read than are counted");
        done("change_job", Sorts::Few, plans, store.change_job(plain[0].id, JobChange::Cancel, now).await);
        assert_eq!(store.prune_jobs(now, 100).await.unwrap(), 100);
        check("prune_jobs", Sorts::Nothing, plans);
    }

    fn job(&self, kind: &JobKind, key: Option<u64>) -> NewJob {
        let now = self.context.now();
        NewJob {
            id: self.context.id(),
            kind: kind.clone(),
            payload: Content::from("{}"),
            priority: JobPriority::Normal,
            run_at: now,
            max_attempts: 3,
            unique: key.map(|key| UniqueJob { key: key.to_string(), since: Some(Timestamp::from_micros(0)) }),
            after: None,
            created_at: now,
        }
    }

    async fn check_reads(&self, store: &PostgresStore, plans: &Plans) {
        let (chat, person) = (self.chat, self.person);
        let middle = Seq::new(MESSAGES / 2);
        plans.take();
        for anchor in [Anchor::Newest, Anchor::Before(middle), Anchor::After(middle), Anchor::Around(middle)]
        {
            let page = store.history(chat, person, anchor, Budget::of_messages(50)).await;
            assert_eq!(page.unwrap().messages.len(), 50);
            check("history", Sorts::Few, plans);
        }
        let all: Vec<_> = self.others.iter().map(|other| (*other, Revision::new(18))).collect();
        for since in [
            vec![(chat, Revision::ZERO)],
            vec![(chat, Revision::new(MESSAGES))],
            vec![(chat, Revision::new(MESSAGES + 999))],
            all,
        ] {
            let changes = store.changes(&since, Budget::of_messages(100)).await.unwrap();
            assert!(changes.iter().all(|changes| !changes.messages.is_empty()));
            check("changes", Sorts::Few, plans);
        }
        done("memberships", Sorts::Nothing, plans, store.memberships(person, None).await);
        done("list_chats", Sorts::Top, plans, store.list_chats(person, None, 50, usize::MAX).await);
        done(
            "chat_views",
            Sorts::Nothing,
            plans,
            store.chat_views(person, &self.others[..100], usize::MAX).await,
        );
        done("membership", Sorts::Nothing, plans, store.membership(chat, person).await);
        done("revisions", Sorts::Nothing, plans, store.revisions(&self.others).await);
        let changed = store.changed_since(self.context.now(), 10_000).await;
        done("changed_since", Sorts::Few, plans, changed);
        done("chats_ever_joined", Sorts::Nothing, plans, store.chats_ever_joined(person).await);
        done("roster", Sorts::Few, plans, store.roster(chat).await);
        done("user", Sorts::Nothing, plans, store.user(person).await);
        done("users", Sorts::Nothing, plans, store.users(&[person]).await);
        let name = Username::trusted("name1");
        done("user_by_login", Sorts::Nothing, plans, store.user_by_login(LoginKey::Username(&name)).await);
        done("find_users", Sorts::Few, plans, store.find_users("name 12", None, 20).await);
        done("sessions", Sorts::Few, plans, store.sessions(person).await);
    }

    async fn check_writes(&self, store: &PostgresStore, plans: &Plans) {
        let (chat, person, now) = (self.chat, self.person, self.context.now());
        let others = &self.others;
        let one = [self.text(chat)];
        done("append_messages", Sorts::Nothing, plans, store.append_messages(&one).await);
        let many: Vec<_> = others[..100].iter().map(|other| self.text(*other)).collect();
        done("append_messages", Sorts::Few, plans, store.append_messages(&many).await);
        // Repeated.
        done("append_messages", Sorts::Few, plans, store.append_messages(&one).await);
        done("append_messages", Sorts::Few, plans, store.append_messages(&many).await);
        let marks = others[..100].iter().map(|other| MoveMarker {
            chat: *other,
            user: person,
            seq: Seq::MAX,
            read: true,
        });
        done("move_markers", Sorts::Few, plans, store.move_markers(&marks.collect::<Vec<_>>()).await);

        let last =
            store.history(chat, person, Anchor::Newest, Budget::of_messages(2)).await.unwrap().messages;
        plans.take();
        let edit = EditMessage {
            chat,
            message: last[0].id,
            sender: last[0].sender,
            expected: last[0].revision,
            body: Content::from("other"),
            edited_at: now,
        };
        done("edit_message", Sorts::Nothing, plans, store.edit_message(edit).await);
        let (message, expected): (MessageId, _) = (last[1].id, last[1].revision);
        let delete = DeleteMessage { chat, message, expected, deleted_at: now };
        done("delete_message", Sorts::Nothing, plans, store.delete_message(delete).await);
        done("erase_messages", Sorts::Few, plans, store.erase_messages(chat, person, now, 10).await);
        let users = [person, store.roster(others[0]).await.unwrap().members.last().unwrap().user_id];
        plans.take();
        let direct = DirectChat { id: self.context.id(), users, created_at: now };
        done("open_direct", Sorts::Few, plans, store.open_direct(direct).await);
        done("set_mute", Sorts::Nothing, plans, store.set_mute(chat, person, Some(now)).await);
        done("set_last_seen", Sorts::Few, plans, store.set_last_seen(&[(person, now)]).await);
        let past = Timestamp::from_micros(0);
        done("remove_expired_sessions", Sorts::Few, plans, store.remove_expired_sessions(past, 100).await);
    }

    fn text(&self, chat: ChatId) -> NewMessage {
        let id = self.context.id();
        let fingerprint = messenger_core::ports::Fingerprint([7; 16]);
        NewMessage {
            id,
            chat,
            sender: self.person,
            body: Content::from("hello"),
            client_id: Some((messenger_core::ClientId::trusted(id.to_string()), fingerprint)),
            reply_to: None,
            created_at: self.context.now(),
        }
    }
}

fn done<T>(intent: &str, sorts: Sorts, plans: &Plans, answer: StoreResult<T>) {
    answer.unwrap();
    check(intent, sorts, plans);
}

fn check(intent: &str, sorts: Sorts, plans: &Plans) {
    let plans = plans.take();
    assert!(
        plans.iter().any(|plan| plan.contains("messenger_")),
        "the server tells its plans of {intent}: {plans:?}"
    );
    for plan in plans {
        let plan: String =
            plan.lines().map(|line| line.chars().take(300).collect::<String>() + "\n").collect();
        // Of paused kinds there are none, or a few.
        let tables = plan.replace("Seq Scan on messenger_job_pauses", "");
        assert!(!tables.contains("Seq Scan on messenger_"), "{intent} reads a whole table: {plan}");
        assert!(!plan.contains("Workers Planned"), "{intent} starts processes: {plan}");
        let sorted = plan.contains("Sort Key");
        match sorts {
            Sorts::Nothing => assert!(!sorted, "{intent} sorts: {plan}"),
            Sorts::Top => assert!(!sorted || plan.contains("top-N heapsort"), "{intent} sorts all: {plan}"),
            Sorts::Few => assert!(!plan.contains("external"), "{intent} sorts on disk: {plan}"),
        }
    }
}
