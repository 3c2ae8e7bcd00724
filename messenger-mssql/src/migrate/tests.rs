use super::*;
use crate::fake::{self, Reply, Server, Value, refusal, returned, rows};

fn schema() -> Schema {
    Schema::parse("chat").unwrap()
}

#[test]
fn batches_end_with_go() {
    let text = "CREATE TABLE a (b int);\nGO\n\nGO\r\n-- GO\nSELECT 'GO ' + x\n  GO\nGO\nEXEC p";
    assert_eq!(batches(text), ["CREATE TABLE a (b int);", "-- GO\nSELECT 'GO ' + x\n  GO", "EXEC p"]);
    assert!(batches("GO\n\nGO\n").is_empty());
}

#[test]
fn the_script_is_one_transaction_of_batches() {
    let sql = migrations_sql("chat").unwrap();
    assert!(!sql.contains("{schema}") && !sql.contains("{commit}") && !sql.contains("{history}"));
    assert!(sql.contains("rowversion NOT NULL,") && sql.contains("VALUES (NEWID());"));
    let parts = batches(&sql);
    assert_eq!(parts[0], SETTINGS);
    assert!(parts[1].starts_with("BEGIN TRANSACTION;"));
    assert!(parts[1].contains("sp_getapplock @Resource = N'messenger migrations of chat'"));
    assert_eq!(parts[3], "IF SCHEMA_ID(N'chat') IS NULL EXEC(N'CREATE SCHEMA [chat]');");
    assert!(parts[5].contains("CREATE TABLE [chat].messenger_migrations"));
    assert_eq!(parts[parts.len() - 2..], ["COMMIT TRANSACTION;", "SET NOEXEC OFF;"]);
    // Each part in between is followed by the stop.
    for pair in parts[1..parts.len() - 2].chunks(2) {
        assert_eq!(pair[1], STOP, "{}", pair[0]);
    }
    let checksum = hex(&MIGRATIONS.steps[0].checksum());
    assert!(sql.contains(&format!("VALUES (1, N'initial', 0x{checksum}")));
    let routines = MIGRATIONS.routines.unwrap();
    assert!(sql.contains(&format!("VALUES ({}, 0x{}", routines.release, hex(&routines.checksum()))));
    assert_eq!(migrations_sql("no schema"), None);
}

#[test]
fn a_routine_is_alone_in_its_batch() {
    let routines = batches(MIGRATIONS.routines.unwrap().sql);
    for batch in &routines {
        let code = batch.lines().find(|line| !line.trim().is_empty() && !line.starts_with("--")).unwrap();
        assert!(code.starts_with("CREATE OR ALTER "), "{code}");
        assert_eq!(batch.matches("CREATE OR ALTER").count(), 1, "{code}");
    }
    assert_eq!(routines.len(), 50);
}

#[test]
fn the_texts_of_a_release_do_not_change() {
    assert!(hex(&MIGRATIONS.steps[0].checksum()).starts_with("6e38d93d"), "databases have stored it");
    let routines = MIGRATIONS.routines.unwrap();
    // A change of the text requires a higher release number.
    assert_eq!((routines.release, &hex(&routines.checksum())[..8]), (5, "1338c9c7"));
}

#[test]
fn an_engine_without_create_or_alter_is_told_which() {
    let dialect = Dialect { is_sql_server: false, ..Dialect::SQL_SERVER };
    let text = "-- It's one.\nCREATE OR ALTER PROCEDURE [chat].p @a int\nAS\nSELECT 'x';";
    assert_eq!(
        dialect.routine(text),
        "-- It's one.\nIF OBJECT_ID(N'[chat].p') IS NULL \
         EXEC(N'CREATE PROCEDURE [chat].p @a int\nAS\nSELECT ''x'';') \
         ELSE EXEC(N'ALTER PROCEDURE [chat].p @a int\nAS\nSELECT ''x'';')"
    );
    assert_eq!(Dialect::SQL_SERVER.routine(text), text);
}

fn number(number: i64) -> Reply {
    rows(&[&[Value::Number(Some(number))]])
}

#[tokio::test(start_paused = true)]
async fn an_empty_database_is_brought_up_to_date_under_the_lock() {
    let server = Server::new();
    let mut link = fake::connector(server.dial()).open(fake::far()).await.unwrap();
    server.then(number(0));
    migrate(&mut link, &schema(), &MIGRATIONS, Dialect::SQL_SERVER).await.unwrap();
    let texts = server.texts();
    assert!(texts[0].contains("sp_getapplock @Resource = N'messenger migrations of chat'"), "{}", texts[0]);
    assert_eq!(texts[1], "SET LOCK_TIMEOUT 2000");
    assert_eq!(texts[2], "BEGIN TRANSACTION");
    assert!(texts[3].contains("messenger_migrations") && texts[4].contains("messenger_routines"));
    let count = texts.len();
    let at = |part: &str| texts.iter().rposition(|text| text.contains(part)).unwrap();
    assert!(at("INSERT INTO [chat].messenger_migrations") < at("CREATE OR ALTER FUNCTION"));
    assert!(texts[count - 3].contains("INSERT INTO [chat].messenger_routines"));
    assert_eq!(texts[count - 2], "COMMIT TRANSACTION");
    assert!(texts[count - 1].contains("sp_releaseapplock @Resource = N'messenger migrations of chat'"));
}

#[tokio::test(start_paused = true)]
async fn another_node_is_waited_for_but_not_for_ever() {
    let server = Server::new();
    let mut link = fake::connector(server.dial()).open(fake::far()).await.unwrap();
    for busy in [-1, -999] {
        server.then(number(busy));
    }
    server.then(number(1));
    migrate(&mut link, &schema(), &MIGRATIONS, Dialect::SQL_SERVER).await.unwrap();
    assert_eq!(server.texts().iter().filter(|text| text.contains("sp_getapplock")).count(), 3);

    server.whenever("sp_getapplock", number(-1));
    let began_at = Instant::now();
    assert!(matches!(
        migrate(&mut link, &schema(), &MIGRATIONS, Dialect::SQL_SERVER).await,
        Err(MigrateError::Busy)
    ));
    assert!(began_at.elapsed() >= OTHERS && began_at.elapsed() < OTHERS + 2 * ONE_WAIT);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_undone_and_the_lock_released() {
    let server = Server::new();
    let mut link = fake::connector(server.dial()).open(fake::far()).await.unwrap();
    server.then(number(0));
    server.whenever("CREATE SCHEMA", refusal(262, 14, "CREATE SCHEMA permission denied in database 'app'."));
    let error = migrate(&mut link, &schema(), &MIGRATIONS, Dialect::SQL_SERVER).await.unwrap_err();
    let MigrateError::Failed(error) = error else { panic!("{error:?}") };
    assert!(error.to_string().starts_with("CREATE SCHEMA permission denied"), "{error}");
    let texts = server.texts();
    assert_eq!(texts[texts.len() - 2], "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION");
    assert!(texts[texts.len() - 1].contains("sp_releaseapplock"));
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_for_a_table_gives_way_and_begins_anew() {
    let server = Server::new();
    let mut link = fake::connector(server.dial()).open(fake::far()).await.unwrap();
    // The lock, the setting, the transaction and two reads of the current state.
    for answer in [number(0), returned(0), returned(0), returned(0), returned(0)] {
        server.then(answer);
    }
    server.then(refusal(1222, 16, "Lock request time out period exceeded."));
    let began_at = Instant::now();
    migrate(&mut link, &schema(), &MIGRATIONS, Dialect::SQL_SERVER).await.unwrap();
    assert!(began_at.elapsed() >= PAUSE);
    let texts = server.texts();
    let at = |part: &str| texts.iter().position(|text| text.contains(part)).unwrap();
    assert_eq!(texts.iter().filter(|text| *text == "BEGIN TRANSACTION").count(), 2);
    assert!(at("ROLLBACK TRANSACTION") < at("COMMIT TRANSACTION"));

    server.whenever("CREATE SCHEMA", refusal(1205, 13, "Transaction was deadlocked."));
    let began_at = Instant::now();
    server.then(number(0));
    let error = migrate(&mut link, &schema(), &MIGRATIONS, Dialect::SQL_SERVER).await.unwrap_err();
    assert!(error.is_about_locks() && began_at.elapsed() >= OTHERS, "{error:?}");
}

fn applied(steps: &[(i64, &'static [u8], &'static str)]) -> Reply {
    let steps: Vec<_> = steps
        .iter()
        .map(|(version, checksum, phase)| {
            [Value::Number(Some(*version)), Value::Bytes(checksum), Value::Text(Some(phase))]
        })
        .collect();
    rows(&steps.iter().map(|step| &step[..]).collect::<Vec<_>>())
}

#[tokio::test(start_paused = true)]
async fn what_was_done_by_others_is_looked_at() {
    let server = Server::new();
    let mut link = fake::connector(server.dial()).open(fake::far()).await.unwrap();
    let pending = pending_migrations(&mut link, &schema(), &MIGRATIONS).await.unwrap();
    assert_eq!(pending.steps.len(), MIGRATIONS.steps.len());
    assert_eq!(pending.routines.unwrap().release, 5);

    let step = |step: &Migration| -> (i64, &'static [u8], &'static str) {
        (step.version, step.checksum().to_vec().leak(), step.phase.as_str())
    };
    let own: Vec<_> = MIGRATIONS.steps.iter().map(step).collect();
    let known = MIGRATIONS.steps.len() as i64;
    let and_later = |phase| [&own[..], &[(known + 1, &[7; 32][..], phase)]].concat();
    server.then(applied(&and_later("expand")));
    let later = MIGRATIONS.routines.unwrap().release + 1;
    server.then(rows(&[&[Value::Number(Some(later)), Value::Bytes(&[7; 32])]]));
    assert!(pending_migrations(&mut link, &schema(), &MIGRATIONS).await.unwrap().is_empty());

    for (steps, wanted) in [
        (applied(&and_later("contract")), Refusal::Newer { found: known + 1, known }),
        (applied(&[(1, &[7; 32], "contract")]), Refusal::Changed { version: 1 }),
    ] {
        server.then(steps);
        let error = pending_migrations(&mut link, &schema(), &MIGRATIONS).await.unwrap_err();
        assert!(matches!(&error, MigrateError::Refused(refusal) if *refusal == wanted), "{error:?}");
    }
}
