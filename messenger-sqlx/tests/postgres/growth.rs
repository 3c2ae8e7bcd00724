//! That what a read costs goes by what it answers, and not by how much is stored or what the server thinks is stored: by
//! the pages that it looks at, in tables that were analysed while they were small and have grown since.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::plans::{Plans, SETTINGS, TELL};
use messenger_core::{
    ChatId, DisplayName, MessageId, Revision, Seq, SessionId, Timestamp, TokenHash, UserId, Username,
    ports::{
        Anchor, Budget, ChatStore as _, LoginKey, MessageStore as _, NamePlace, SessionStore as _,
        Store as _, StoreResult, StoredName, UserStore as _,
    },
    testkit::World,
};
use messenger_sqlx::PostgresStore;
use messenger_testing::{PrivateServer, connect, execute};
use sqlx::postgres::PgPoolOptions;

const PAGE: usize = 20;

#[tokio::test]
async fn a_read_costs_what_it_answers_however_much_is_stored() {
    let plans = Plans::default();
    tracing::subscriber::set_global_default(plans.clone()).unwrap();
    // Nobody counts the rows again.
    let server = PrivateServer::start(&[&SETTINGS[..], &["autovacuum=off", "jit=off"]].concat());
    let store = std::sync::Arc::new(PostgresStore::connect(server.url()).await.unwrap());
    let scene = Scene::small(World::new(store.clone())).await;
    let mut conn = connect(server.url()).await;
    execute(&mut conn, "ANALYZE").await;
    execute(&mut conn, TELL).await;
    store.close().await;

    let own = PostgresStore::connect(server.url()).await.unwrap();
    let pool = PgPoolOptions::new().max_connections(1).connect(server.url()).await.unwrap();
    let shared = PostgresStore::with_pool(pool.clone()).open().await.unwrap();
    let (small_own, small_shared) = (scene.pages(&own, &plans).await, scene.pages(&shared, &plans).await);
    execute(&mut conn, scene.growth()).await;
    check("of its own", &small_own, &scene.pages(&own, &plans).await);
    // A host's connections plan as the host wants it, but for the reads that a whole table may be taken for.
    let is_told = |(name, _): &(&str, _)| name.starts_with("find_users") || *name == "changed_since";
    let large = scene.pages(&shared, &plans).await;
    check("of a host", &only(&small_shared, is_told), &only(&large, is_told));
    execute(&mut conn, "ANALYZE").await;
    check("of a host that counts its rows", &small_shared, &scene.pages(&shared, &plans).await);
}

#[tokio::test]
async fn a_write_to_a_new_database_costs_the_same_however_much_has_been_written() {
    let plans = Plans::default();
    tracing::subscriber::set_global_default(plans.clone()).unwrap();
    // Nobody counts the rows.
    let server = PrivateServer::start(&[&SETTINGS[..], &["autovacuum=off"]].concat());
    execute(&mut connect(server.url()).await, TELL).await;
    let world = World::new(std::sync::Arc::new(PostgresStore::connect(server.url()).await.unwrap()));
    let people = world.people(["ada", "bob", "cleo", "dan"]).await;
    let chats = [world.group(people).await, world.group(people).await];
    // The server keeps a plan from the sixth time on.
    append(&world, &chats, &people, 10).await;
    plans.take();
    append(&world, &chats, &people, 10).await;
    let few: u64 = plans.take().iter().map(|plan| pages(plan)).sum();
    append(&world, &chats, &people, 400).await;
    plans.take();
    append(&world, &chats, &people, 10).await;
    let all = plans.take();
    let many: u64 = all.iter().map(|plan| pages(plan)).sum();
    assert!(many < 2 * few, "pages that were looked at: {few}, then {many}: {all:#?}");
}

/// So many batches of 16.
async fn append(world: &World, chats: &[ChatId], people: &[UserId], batches: usize) {
    for _ in 0..batches {
        let texts = (0..16).map(|n| {
            let (chat, sender) = (chats[n % chats.len()], people[n % people.len()]);
            let id = world.id::<()>().to_string();
            world.named(chat, sender, "hello", &id)
        });
        world.store.append_messages(&texts.collect::<Vec<_>>()).await.unwrap();
    }
}

fn only(counts: &[Count], is_meant: impl Fn(&Count) -> bool) -> Vec<Count> {
    counts.iter().copied().filter(is_meant).collect()
}

fn check(connections: &str, small: &[Count], large: &[Count]) {
    let pairs = small.iter().zip(large);
    // An index of more levels, and rows that lie apart: a few pages for each row of the answer.
    let grown = pairs.filter(|((_, small), (_, large))| *large > 3 * small + 10 * PAGE as u64);
    let grown: Vec<_> =
        grown.map(|((name, small), (_, large))| format!("{name}: {small}, then {large}")).collect();
    assert!(grown.is_empty(), "pages that were looked at, on connections {connections}: {grown:#?}");
}

/// An intent, and how many pages it looks at.
type Count = (&'static str, u64);

struct Scene {
    people: Vec<UserId>,
    chats: Vec<ChatId>,
    message: MessageId,
    token: TokenHash,
    session: SessionId,
    /// When all of this was there.
    later: Timestamp,
}

impl Scene {
    async fn small(world: World) -> Self {
        let mut people = vec![];
        for n in 0..30 {
            let (mut user, session) = world.account(&format!("name{n}"));
            user.display_name = StoredName::from(&DisplayName::trusted(format!("Name {}", n % 2)));
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
        Self { people, chats, message: messages[0].id, token, session: id, later: world.tick() }
    }

    /// A thousand times as much, also of what the same people and chats have, where an answer is but a part of it.
    fn growth(&self) -> String {
        let chat = self.chats[0];
        // An id of long ago.
        let old = "overlay(gen_random_uuid()::text PLACING '0000' FROM 1 FOR 4)::uuid";
        format!(
            "INSERT INTO messenger.messenger_users (id, username, display_name, display_folded, notify_email, created_at,
                version, memberships)
            SELECT gen_random_uuid(), 'name~' || lpad(n::text, 8, '0'), 'Name', 'name ' || n % 2, true, n, 1, 1
            FROM generate_series(1, 60000) AS n;
            INSERT INTO messenger.messenger_users (id, username, display_name, notify_email, created_at, erased_at,
                version, memberships)
            SELECT gen_random_uuid(), 'na-deleted' || n, 'Deleted', false, 1, 1, 1, 1 FROM generate_series(1, 20000) AS n;
            INSERT INTO messenger.messenger_sessions (token_hash, id, user_id, created_at, last_used_at, expires_at)
            SELECT sha256(id::text::bytea), id, id, 1, 1, 1 FROM messenger.messenger_users WHERE username LIKE 'name~%';
            INSERT INTO messenger.messenger_chats (id, kind, created_at, activity_at, revision, last_seq, texts,
                member_count, roster_version, commit_no)
            SELECT id, 1, 1, 1, 20, 20, 20, 1, 1, 1 FROM messenger.messenger_users WHERE username LIKE 'name~%';
            INSERT INTO messenger.messenger_members (chat_id, user_id, role, joined_at, join_order, read_seq, read_texts,
                delivered_seq)
            SELECT id, id, 0, 1, 1, 0, 0, 0 FROM messenger.messenger_users WHERE username LIKE 'name~%';
            INSERT INTO messenger.messenger_messages (id, chat_id, seq, sender_id, kind, created_revision, revision,
                texts, created_at, client_id)
            SELECT {old}, id, 1, id, 0, 1, 20, 1, 1, id::text FROM messenger.messenger_users
            WHERE username LIKE 'name~%';
            INSERT INTO messenger.messenger_messages (id, chat_id, seq, sender_id, kind, created_revision, revision,
                texts, created_at, body)
            SELECT {old}, c.id, c.last_seq + n, gen_random_uuid(), 0, c.revision + n,
                c.revision + n + 60000 * (n % 2), c.texts + n, 1, 'x'
            FROM generate_series(1, 60000) AS n, messenger.messenger_chats AS c WHERE c.id = '{chat}' ORDER BY n;
            UPDATE messenger.messenger_chats
            SET last_seq = last_seq + 60000, revision = revision + 120000, texts = texts + 60000 WHERE id = '{chat}'"
        )
    }

    /// How many pages each of the reads looks at.
    async fn pages(&self, store: &PostgresStore, plans: &Plans) -> Vec<Count> {
        // What a connection learns of the tables when it first looks at them is no part of a read.
        self.read_all(store, plans).await;
        self.read_all(store, plans).await
    }

    async fn read_all(&self, store: &PostgresStore, plans: &Plans) -> Vec<Count> {
        let (chat, ada) = (self.chats[0], self.people[0]);
        let name = Username::trusted("name1");
        let place =
            |name: &str, username| NamePlace { name: name.to_owned(), username: Username::trusted(username) };
        let (username, display_name) = (place("name20", "name20"), place("name 0", "name2"));
        plans.take();
        let mut all = vec![];
        let mut count = |intent, answered: StoreResult<()>| {
            answered.unwrap();
            all.push((intent, plans.take().iter().map(|plan| pages(plan)).sum()));
        };
        count("user", store.user(ada).await.map(drop));
        count("users", store.users(&self.people[..3]).await.map(drop));
        count("user_by_login", store.user_by_login(LoginKey::Username(&name)).await.map(drop));
        let email = LoginKey::Email(b"name1@example.org");
        count("user_by_login, address", store.user_by_login(email).await.map(drop));
        count("find_users", store.find_users("na", None, PAGE).await.map(drop));
        count("find_users, usernames", store.find_users("na", Some(&username), PAGE).await.map(drop));
        count("find_users, display names", store.find_users("na", Some(&display_name), PAGE).await.map(drop));
        count("find_users, nobody", store.find_users("nb", None, PAGE).await.map(drop));
        count("session_by_token", store.session_by_token(&self.token).await.map(drop));
        count("sessions", store.sessions(ada).await.map(drop));
        count("existing_sessions", store.existing_sessions(&[self.session]).await.map(drop));
        count("chat_views", store.chat_views(ada, &self.chats[1..4], 100).await.map(drop));
        count("list_chats", store.list_chats(ada, None, 5, 100).await.map(drop));
        count("membership", store.membership(chat, ada).await.map(drop));
        count("roster", store.roster(chat).await.map(drop));
        count("memberships", store.memberships(ada, None).await.map(drop));
        count("membership_counts", store.membership_counts(&self.people[..3]).await.map(drop));
        count("revisions", store.revisions(&self.chats[..3]).await.map(drop));
        count("changed_since", store.changed_since(self.later, 10_000).await.map(drop));
        count("chats_ever_joined", store.chats_ever_joined(ada).await.map(drop));
        count("message", store.message(chat, self.message).await.map(drop));
        let middle = Seq::new(30);
        for anchor in [Anchor::Newest, Anchor::Before(middle), Anchor::After(middle), Anchor::Around(middle)]
        {
            count("history", store.history(chat, ada, anchor, Budget::of_messages(PAGE)).await.map(drop));
        }
        count("changes", store.changes(&[(chat, Revision::ZERO)], Budget::of_messages(PAGE)).await.map(drop));
        all
    }
}

/// What the first node of a plan says, which has what all of them looked at.
fn pages(plan: &str) -> u64 {
    let line = plan.lines().find_map(|line| line.trim().strip_prefix("Buffers: shared "));
    let counts = line.unwrap_or_default().split_whitespace();
    counts
        .filter_map(|count| count.split_once('='))
        .filter(|(what, _)| ["hit", "read"].contains(what))
        .map(|(_, count)| count.parse::<u64>().unwrap())
        .sum()
}
