//! Checks that no statement reads a whole table, or more of a row than it needs.

use sqlx::AssertSqlSafe;

use messenger_core::ports::{JobFilter, JobState};

use super::{
    SqliteStore, append, chats, contents, enqueue, errors::store_error, jobs, keys, markers, messages,
    retention, sessions, unread, users,
};

/// Every statement that is long enough to have a name, with its text.
fn statements() -> Vec<(&'static str, &'static str)> {
    let mut all = vec![
        ("users::BY_ID", users::BY_ID.as_str()),
        ("users::BY_IDS", users::BY_IDS.as_str()),
        ("users::BY_USERNAME", users::BY_USERNAME.as_str()),
        ("users::BY_EMAIL", users::BY_EMAIL.as_str()),
        ("users::FIND", users::FIND.as_str()),
        ("sessions::BY_TOKEN", sessions::BY_TOKEN.as_str()),
        ("sessions::OF_USER", sessions::OF_USER.as_str()),
        ("chats::BY_ID", chats::BY_ID.as_str()),
        ("chats::BY_IDS", chats::BY_IDS.as_str()),
        ("chats::PAGE", chats::PAGE.as_str()),
        ("chats::MEMBERSHIP", chats::MEMBERSHIP.as_str()),
        ("chats::ROSTER", chats::ROSTER.as_str()),
        ("chats::MEMBERSHIPS", chats::MEMBERSHIPS.as_str()),
        ("chats::CHANGED_SINCE", chats::CHANGED_SINCE),
        ("messages::BY_ID", messages::BY_ID.as_str()),
        ("messages::HISTORY", messages::HISTORY.as_str()),
        ("messages::CHANGES", messages::CHANGES.as_str()),
        ("append::LOOK", append::LOOK.of(64)),
        ("append::STORE", append::STORE.of(64)),
        ("append::MARK_UNREAD", append::MARK_UNREAD.of(64)),
        ("unread::CLAIM", unread::CLAIM.as_str()),
        ("unread::NEXT", unread::NEXT.as_str()),
        ("unread::MEMBERS", unread::MEMBERS.as_str()),
        ("unread::CHATS", unread::CHATS.as_str()),
        ("unread::LINES", unread::LINES.as_str()),
        ("unread::TELL", unread::TELL.as_str()),
        ("unread::SEEN", unread::SEEN.as_str()),
        ("messages::LIVE", messages::LIVE.as_str()),
        ("messages::ERASE", messages::ERASE),
        ("chats::GIVE_ROLES", chats::GIVE_ROLES),
        ("users::SEEN", users::SEEN),
        ("markers::LOOK", markers::LOOK.of(64)),
        ("markers::MOVE", markers::MOVE.of(64)),
        ("enqueue::LOOK", enqueue::LOOK.of(64)),
        ("enqueue::INSERT", enqueue::INSERT.of(64)),
        ("jobs::BY_ID", jobs::BY_ID.as_str()),
        ("jobs::DUE", jobs::DUE.as_str()),
        ("jobs::GIVE_UP", jobs::GIVE_UP),
        ("jobs::CLAIM", jobs::CLAIM.as_str()),
        ("jobs::RENEW", jobs::RENEW.of(64)),
        ("jobs::FINISH", jobs::FINISH.of(64)),
        ("jobs::GO_ON", jobs::GO_ON),
        ("jobs::CANCEL", jobs::CANCEL),
        ("jobs::CANCEL_AFTER", jobs::CANCEL_AFTER),
        ("jobs::RETRY", jobs::RETRY),
        ("jobs::PRUNE", jobs::PRUNE),
        ("keys::INSERT", keys::INSERT),
        ("keys::BY_IDS", keys::BY_IDS.as_str()),
        ("keys::PAGE", keys::PAGE.as_str()),
        ("keys::REWRAP", keys::REWRAP),
        ("keys::DESTROY", keys::DESTROY),
        ("retention::OVERDUE", retention::OVERDUE),
        ("retention::NEXT", retention::NEXT.as_str()),
        ("retention::HOLDS", retention::HOLDS.as_str()),
        ("retention::PURGES", retention::PURGES.as_str()),
        ("jobs::LISTS, dead", jobs::LISTS.of(&dead(false)).as_str()),
        ("jobs::LISTS, dead of a kind", jobs::LISTS.of(&dead(true)).as_str()),
    ];
    for of_field in contents::STATEMENTS.iter() {
        all.push(("contents: edge", of_field.edge.as_str()));
        all.push(("contents: page", of_field.page.as_str()));
        all.push(("contents: replace", of_field.replace.as_str()));
    }
    all
}

fn dead(of_a_kind: bool) -> JobFilter {
    JobFilter { kind: of_a_kind.then(|| "a".parse().unwrap()), state: Some(JobState::Dead) }
}

/// A few rows of everything, so that there are statistics to collect.
const ROWS: &str = "
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    INSERT INTO messenger_users (id, username, display_name, display_folded, email_key, notify_email, created_at,
        version, memberships)
    SELECT unhex(format('%032x', i)), 'name' || i, 'Name', 'name', randomblob(8), 1, i, 1, 1 FROM n;
    INSERT INTO messenger_sessions SELECT unhex(format('%064x', created_at)), id, id, NULL, 1, 1, 1 FROM messenger_users;
    INSERT INTO messenger_chats (id, kind, created_at, activity_at, revision, last_seq, texts, member_count,
        roster_version, commit_no)
    SELECT id, 1, 1, 1, 20, 20, 20, 10, 1, 1 FROM messenger_users LIMIT 50;
    INSERT INTO messenger_members (chat_id, user_id, role, joined_at, join_order, read_seq, read_texts, delivered_seq)
    SELECT c.id, u.id, 0, 1, 1, 0, 0, 0 FROM messenger_chats AS c CROSS JOIN messenger_users AS u WHERE u.created_at % 50 = 0;
    INSERT INTO messenger_messages (id, chat_id, seq, sender_id, kind, created_revision, revision, texts, created_at)
    SELECT randomblob(16), c.id, u.created_at, u.id, 0, u.created_at, u.created_at + 1000 * (u.created_at % 2), 1, 1
    FROM messenger_chats AS c CROSS JOIN messenger_users AS u WHERE u.created_at <= 20;
    INSERT INTO messenger_jobs (id, kind, priority, state, run_at, attempt, max_attempts, claims, created_at, ended_at,
        after_id, unique_key, payload)
    SELECT id, 'a', 1, iif(created_at % 9 > 5, 3, created_at % 9), 1, 1, 3, 1, 1, created_at, randomblob(16),
        'k' || created_at, x'00'
    FROM messenger_users;
    INSERT INTO messenger_keys (owner, number, wrapped, created_at) SELECT id, 1, x'00', 1 FROM messenger_users;
    ANALYZE";

#[tokio::test]
async fn the_chats_of_a_person_are_found_without_a_look_at_the_members() {
    let (store, _directory) = fresh().await;
    for text in [chats::MEMBERSHIPS.as_str(), chats::PAGE.as_str()] {
        let plan = plan(&store, text).await;
        let search = "USING COVERING INDEX messenger_members_by_user (user_id=?)";
        assert!(plan.iter().any(|step| step.contains(search)), "{plan:#?}");
    }
}

#[tokio::test]
async fn what_may_be_unread_is_found_by_time_and_in_order() {
    let (store, _directory) = fresh().await;
    for (text, search) in [
        (unread::CLAIM.as_str(), "USING INDEX messenger_chats_by_unread (unread_since>? AND unread_since<?)"),
        (
            unread::SEEN.as_str(),
            "USING COVERING INDEX messenger_users_by_last_seen (last_seen_at>? AND last_seen_at<?)",
        ),
        (unread::NEXT.as_str(), "USING INDEX messenger_messages_by_seq (chat_id=? AND seq>?)"),
    ] {
        let plan = plan(&store, text).await;
        assert!(plan.iter().any(|step| step.contains(search)), "{search} in {plan:#?}");
    }
    let sorts = async |text| {
        let plan = plan(&store, text).await;
        plan.into_iter().filter(|step| step.contains("TEMP B-TREE")).collect::<Vec<_>>()
    };
    assert_eq!(sorts(unread::SEEN.as_str()).await, [""; 0]);
    assert_eq!(sorts(unread::NEXT.as_str()).await, [""; 0]);
    assert_eq!(sorts(unread::MEMBERS.as_str()).await, [""; 0]);
}

#[tokio::test]
async fn every_table_is_read_through_an_index() {
    let (store, _directory) = fresh().await;
    check_all(&store).await;
}

#[tokio::test]
async fn every_table_is_read_through_an_index_also_when_the_rows_are_counted() {
    let (store, _directory) = fresh().await;
    let filled = store.writer.run(|conn| {
        Box::pin(async move { sqlx::raw_sql(ROWS).execute(conn).await.map(drop).map_err(store_error) })
    });
    filled.await.unwrap();
    check_all(&store).await;
}

async fn check_all(store: &SqliteStore) {
    for (name, text) in statements() {
        for step in plan(store, text).await {
            let scanned = step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
            let table = scanned.filter(|name| {
                name.len() == 1 && !["a", "f", "l", "v", "w"].contains(name) || name.starts_with("messenger_")
            });
            assert_eq!(table, None, "{name}: {step}");
        }
    }
}

#[tokio::test]
async fn a_page_of_history_is_a_range_that_is_weighed_and_then_read() {
    let (store, _directory) = fresh().await;
    let plan = plan(&store, messages::HISTORY.as_str()).await;
    for search in [
        "SEARCH n USING INDEX messenger_messages_by_seq (chat_id=? AND seq>? AND seq<?)",
        "SEARCH m USING INDEX messenger_messages_by_seq (chat_id=? AND seq=?)",
    ] {
        assert!(plan.iter().any(|step| step.contains(search)), "{search} in {plan:#?}");
    }
    // The places and lengths of one page are sorted.
    let sorts = plan.iter().filter(|step| step.contains("TEMP B-TREE")).count();
    assert_eq!(sorts, 1, "{plan:#?}");
}

/// SQLite reads a body's length from the header of its row, unless it keeps the body itself for a window.
#[tokio::test]
async fn of_the_bodies_that_are_weighed_only_the_lengths_are_read() {
    let (store, _directory) = fresh().await;
    let number = |query: &'static str| store.one(sqlx::query(query), |columns| columns.integer());
    let root = number("SELECT rootpage FROM sqlite_schema WHERE name = 'messenger_messages'").await;
    let body = number("SELECT cid FROM pragma_table_info('messenger_messages') WHERE name = 'body'").await;
    let (root, body) = (root.unwrap().unwrap(), body.unwrap().unwrap());
    for text in [&messages::HISTORY, &messages::CHANGES] {
        let steps = program(&store, text.as_str()).await;
        let messages: Vec<_> = steps
            .iter()
            .filter(|step| step.code == "OpenRead" && step.p[1] == root)
            .map(|step| step.p[0])
            .collect();
        let read = steps.iter().filter(|step| {
            step.code == "Column"
                && messages.contains(&step.p[0])
                && step.p[1] == body
                && step.p5 & LENGTH == 0
        });
        assert_eq!(read.count(), 1, "{}", text.as_str());
    }
}

/// The flag of an instruction that needs only the length of a column.
const LENGTH: i64 = 0x40;

/// An instruction of SQLite's virtual machine.
struct Step {
    code: String,
    p: [i64; 3],
    p5: i64,
}

async fn program(store: &SqliteStore, text: &str) -> Vec<Step> {
    let explain = AssertSqlSafe(format!("EXPLAIN {text}"));
    let steps = store.all(sqlx::query(explain), |columns| {
        columns.next_column();
        let code = columns.text()?.to_owned();
        let p = [columns.integer()?, columns.integer()?, columns.integer()?];
        columns.next_column();
        Ok(Step { code, p, p5: columns.integer()? })
    });
    steps.await.unwrap()
}

#[tokio::test]
async fn changes_are_found_by_ranges() {
    let (store, _directory) = fresh().await;
    let plan = plan(&store, messages::CHANGES.as_str()).await;
    for search in [
        "SEARCH m USING INDEX messenger_messages_by_seq (chat_id=? AND seq>? AND seq<?)",
        "SEARCH x USING INDEX messenger_messages_by_seq (chat_id=? AND seq>?)",
        "SEARCH m USING INDEX messenger_messages_by_change (chat_id=? AND revision>? AND revision<?)",
        "messenger_messages_by_change (chat_id=? AND revision>?)",
        "SEARCH m USING INDEX messenger_messages_by_seq (chat_id=? AND seq=?)",
    ] {
        assert!(plan.iter().any(|step| step.contains(search)), "{search} in {plan:#?}");
    }
}

async fn fresh() -> (SqliteStore, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("chat.db")).await.unwrap();
    (store, directory)
}

async fn plan(store: &SqliteStore, text: &'static str) -> Vec<String> {
    let statements = text.split(';').map(str::trim);
    let mut steps = vec![];
    for statement in statements.filter(|text| !text.starts_with("BEGIN") && *text != "COMMIT") {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let details = store.all(sqlx::query(explain), |columns| {
            for _ in 0..3 {
                columns.next_column();
            }
            columns.text().map(str::to_owned)
        });
        steps.extend(details.await.unwrap());
    }
    steps
}
