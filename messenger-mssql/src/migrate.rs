use std::{future::Future, time::Duration};

use messenger_core::ports::{StoreError, StoreResult};
use messenger_sql::{
    columns::Columns,
    migrations::{Applied, Migration, Refusal, pending},
};
use tiberius::error::Error;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{
    connect::{ConnectError, Link, batch},
    row::SqlRow,
    schema::Schema,
};

const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "initial", sql: include_str!("migrations/0001_initial.sql") }];

const TABLE: &str = "CREATE TABLE {schema}.messenger_migrations (
    version     bigint       NOT NULL CONSTRAINT messenger_migrations_pkey PRIMARY KEY,
    name        nvarchar(64) NOT NULL,
    -- SHA-256 of the migration's text.
    checksum    binary(32)   NOT NULL,
    applied_at  bigint       NOT NULL
);";

/// How commits are numbered: by `rowversion`, or not at all on an engine that speaks the server's language and has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commits {
    Numbered,
    Bare,
}

impl Commits {
    const PROBE: &str = "DECLARE @probe TABLE (n rowversion NOT NULL);
SELECT CAST(MIN_ACTIVE_ROWVERSION() AS bigint);";

    /// Asks an engine that is no SQL Server. Not in a transaction, which would end with what is refused.
    pub(crate) async fn ask(link: &mut Link) -> Result<Self, ConnectError> {
        match batch(link, Self::PROBE).await {
            Ok(_) => Ok(Self::Numbered),
            Err(Error::Server(_)) => Ok(Self::Bare),
            Err(error) => Err(error.into()),
        }
    }

    /// Text of our own with what numbers commits, and the schema's quoted name.
    fn fill(self, schema: &Schema, text: &str) -> String {
        let (commit, history) = match self {
            Self::Numbered => ("rowversion NOT NULL", "NEWID()"),
            Self::Bare => ("bigint NOT NULL DEFAULT 0", "NULL"),
        };
        schema.fill(&text.replace("{commit}", commit).replace("{history}", history))
    }
}

/// Whoever sends the statements by a tool that has other defaults: what is made with other settings can't be used.
const SETTINGS: &str = "SET XACT_ABORT ON;
SET NOCOUNT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET ANSI_PADDING ON;
SET ANSI_WARNINGS ON;
SET ARITHABORT ON;
SET CONCAT_NULL_YIELDS_NULL ON;
SET NUMERIC_ROUNDABORT OFF;";

/// Once a batch has failed there is no transaction any more, and what follows would be done without one.
const STOP: &str = "IF @@ERROR <> 0 AND @@TRANCOUNT > 0 ROLLBACK TRANSACTION;
IF @@TRANCOUNT = 0 SET NOEXEC ON;";

/// The statements that bring an empty database to the tables of this version, for a host that runs migrations
/// itself: SQL text for `sqlcmd`, with `GO` between the batches, one migration after the other, each followed by the
/// row that remembers it. It is one transaction: after a batch that fails, none of the others is done. `None` if
/// `schema` can't be the name of a schema: see [`MssqlBuilder::schema`](crate::MssqlBuilder::schema).
///
/// ```
/// let sql = messenger_mssql::migrations_sql("messenger").unwrap();
/// assert!(sql.contains("CREATE TABLE [messenger].messenger_messages"));
/// ```
pub fn migrations_sql(schema: &str) -> Option<String> {
    let schema = Schema::parse(schema)?;
    let mut parts = vec![SETTINGS.to_owned(), begin(&schema)];
    parts.extend([create_schema(&schema), schema.fill(TABLE)]);
    for migration in MIGRATIONS {
        parts.push(format!("-- Migration {}: {}", migration.version, migration.name));
        parts.extend(batches(&Commits::Numbered.fill(&schema, migration.sql)));
        parts.push(note(&schema, migration));
    }
    let mut text = String::new();
    for part in parts {
        text += &part;
        // What only comments is no batch, and settings are made before there is a transaction.
        if part.starts_with("-- Migration") {
            text += "\n\n";
            continue;
        }
        text += "\nGO\n";
        if part != SETTINGS {
            text += STOP;
            text += "\nGO\n";
        }
        text += "\n";
    }
    text += "COMMIT TRANSACTION;\nGO\n\nSET NOEXEC OFF;\nGO\n";
    Some(text)
}

/// Begins a transaction in which no node migrates the database. Whoever can't have the lock has no transaction.
fn begin(schema: &Schema) -> String {
    format!(
        "BEGIN TRANSACTION;
DECLARE @result int;
EXEC @result = sp_getapplock @Resource = N'{}', @LockMode = N'Exclusive', @LockOwner = N'Transaction', \
    @LockTimeout = {};
IF @result < 0
BEGIN
    RAISERROR(N'another node migrates the database', 16, 1);
    ROLLBACK TRANSACTION;
END;",
        resource(schema),
        OTHERS.as_millis()
    )
}

/// What is sent at once: a procedure must be alone. Between them are lines of nothing but `GO`.
fn batches(text: &str) -> Vec<String> {
    let mut batches = vec![String::new()];
    for line in text.lines() {
        match batches.last_mut() {
            Some(batch) if line.trim_end() != "GO" => {
                batch.push_str(line);
                batch.push('\n');
            }
            _ => batches.push(String::new()),
        }
    }
    let batches = batches.into_iter().map(|batch| batch.trim().to_owned());
    batches.filter(|batch| !batch.is_empty()).collect()
}

/// Makes the schema if there is none. That must be alone in its batch, so it is a text.
fn create_schema(schema: &Schema) -> String {
    format!("IF SCHEMA_ID(N'{}') IS NULL EXEC(N'CREATE SCHEMA {schema}');", schema.name())
}

/// Remembers that a migration was done.
fn note(schema: &Schema, migration: &Migration) -> String {
    let checksum: String = migration.checksum().iter().map(|byte| format!("{byte:02X}")).collect();
    let (version, name) = (migration.version, migration.name);
    format!(
        "INSERT INTO {schema}.messenger_migrations (version, name, checksum, applied_at)
VALUES ({version}, N'{name}', 0x{checksum}, DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME()));"
    )
}

/// Why a database could not be brought up to date.
#[derive(Debug)]
pub(crate) enum MigrateError {
    Refused(Refusal),
    Failed(ConnectError),
    /// What the table of migrations holds is none of ours.
    Unreadable(StoreError),
    /// Another node is still at it.
    Busy,
}

impl From<Error> for MigrateError {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

/// How long another node is waited for.
const OTHERS: Duration = Duration::from_secs(15 * 60);
/// How long our own work may take.
const OURS: Duration = Duration::from_secs(3600);
/// How long the server waits for the lock before it says that it is taken.
const ONE_WAIT: Duration = Duration::from_secs(5);

/// The migrations that are still to be done. The right to read is enough. While another node migrates, this waits for
/// it.
pub(crate) async fn pending_migrations(
    link: &mut Link,
    schema: &Schema,
) -> Result<&'static [Migration], MigrateError> {
    timeout(OTHERS, look(link, schema)).await.unwrap_or(Err(MigrateError::Busy))
}

/// Brings the database up to date, in one transaction: of several nodes that start at the same time, one does the
/// work, and the others find it done. After an error the connection can't be used any more.
pub(crate) async fn migrate(link: &mut Link, schema: &Schema, commits: Commits) -> Result<(), MigrateError> {
    lock(link, schema).await?;
    let done = within(OURS, apply(link, schema, commits)).await;
    if done.is_err() {
        // The server would also do it when the connection is closed, but others wait for it.
        let undone = within(ONE_WAIT, run(link, "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")).await;
        if undone.is_err() {
            return done;
        }
    }
    let release =
        format!("EXEC sp_releaseapplock @Resource = N'{}', @LockOwner = N'Session'", resource(schema));
    let released = within(ONE_WAIT, run(link, &release)).await;
    done.and(released)
}

/// One node at a time, whether or not it is in a transaction.
async fn lock(link: &mut Link, schema: &Schema) -> Result<(), MigrateError> {
    let text = format!(
        "DECLARE @result int;
EXEC @result = sp_getapplock @Resource = N'{}', @LockMode = N'Exclusive', @LockOwner = N'Session', \
    @LockTimeout = {};
SELECT @result;",
        resource(schema),
        ONE_WAIT.as_millis()
    );
    let deadline = Instant::now() + OTHERS;
    while Instant::now() < deadline {
        let asked_at = Instant::now();
        let answer = timeout_at(deadline + ONE_WAIT, batch(link, &text)).await;
        let rows = answer.map_err(|_| MigrateError::Busy)??;
        if read(&rows, |columns| columns.integer())?.first().is_some_and(|result| *result >= 0) {
            return Ok(());
        }
        tracing::info!(schema = schema.name(), "another node migrates the database; waiting for it");
        // Some engines say at once that it is taken.
        sleep(Duration::from_millis(500).saturating_sub(asked_at.elapsed())).await;
    }
    Err(MigrateError::Busy)
}

/// The lock is the database's, so only another schema of ours could have the same name.
fn resource(schema: &Schema) -> String {
    format!("messenger migrations of {}", schema.name())
}

async fn apply(link: &mut Link, schema: &Schema, commits: Commits) -> Result<(), MigrateError> {
    run(link, "BEGIN TRANSACTION").await?;
    for migration in look(link, schema).await? {
        if migration.version == 1 {
            run(link, &create_schema(schema)).await?;
            run(link, &schema.fill(TABLE)).await?;
        }
        for text in batches(&commits.fill(schema, migration.sql)) {
            run(link, &text).await?;
        }
        run(link, &note(schema, migration)).await?;
        tracing::info!(version = migration.version, name = migration.name, "migrated the database");
    }
    run(link, "COMMIT TRANSACTION").await
}

async fn look(link: &mut Link, schema: &Schema) -> Result<&'static [Migration], MigrateError> {
    // A name in a statement is looked up when that is reached.
    let query = format!(
        "IF OBJECT_ID(N'{schema}.messenger_migrations', N'U') IS NOT NULL
    SELECT version, checksum FROM {schema}.messenger_migrations ORDER BY version;"
    );
    let rows = batch(link, &query).await?;
    let applied = read(&rows, |columns| {
        let version = columns.integer()?;
        Ok(Applied { version, checksum: columns.optional_bytes()?.unwrap_or_default().to_vec() })
    })?;
    pending(MIGRATIONS, &applied).map_err(MigrateError::Refused)
}

fn read<T>(
    rows: &[SqlRow],
    mut read: impl FnMut(&mut Columns<'_, SqlRow>) -> StoreResult<T>,
) -> Result<Vec<T>, MigrateError> {
    rows.iter().map(|row| read(&mut Columns::of(row)).map_err(MigrateError::Unreadable)).collect()
}

async fn run(link: &mut Link, text: &str) -> Result<(), MigrateError> {
    batch(link, text).await?;
    Ok(())
}

async fn within(
    limit: Duration,
    work: impl Future<Output = Result<(), MigrateError>>,
) -> Result<(), MigrateError> {
    timeout(limit, work).await.unwrap_or(Err(MigrateError::Failed(ConnectError::NoAnswer)))
}

#[cfg(test)]
mod tests {
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
        assert!(parts[5].starts_with("CREATE TABLE [chat].messenger_migrations"));
        assert_eq!(parts[parts.len() - 2..], ["COMMIT TRANSACTION;", "SET NOEXEC OFF;"]);
        // Each of those between is followed by the stop.
        for pair in parts[1..parts.len() - 2].chunks(2) {
            assert_eq!(pair[1], STOP, "{}", pair[0]);
        }
        let checksum =
            MIGRATIONS[0].checksum()[..2].iter().fold("0x".to_owned(), |t, b| t + &format!("{b:02X}"));
        assert!(sql.contains(&format!("VALUES (1, N'initial', {checksum}")));
        assert_eq!(migrations_sql("no schema"), None);
    }

    #[test]
    fn procedures_are_alone_in_their_batches() {
        for migration in MIGRATIONS {
            for batch in batches(migration.sql) {
                let count = batch.matches("CREATE PROCEDURE").count();
                let code =
                    batch.lines().find(|line| !line.trim().is_empty() && !line.starts_with("--")).unwrap();
                assert!(count == 0 || count == 1 && code.starts_with("CREATE PROCEDURE"), "{code}");
            }
        }
    }

    fn number(number: i64) -> Reply {
        rows(&[&[Value::Number(Some(number))]])
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_database_is_brought_up_to_date_under_the_lock() {
        let server = Server::new();
        let mut link = fake::connector(server.dial()).connect(fake::far()).await.unwrap();
        server.then(number(0));
        migrate(&mut link, &schema(), Commits::Numbered).await.unwrap();
        let texts = server.texts();
        assert!(
            texts[0].contains("sp_getapplock @Resource = N'messenger migrations of chat'"),
            "{}",
            texts[0]
        );
        assert_eq!(texts[1], "BEGIN TRANSACTION");
        assert!(texts[2].contains("OBJECT_ID"));
        let count = texts.len();
        assert!(texts[count - 3].contains("INSERT INTO [chat].messenger_migrations"));
        assert_eq!(texts[count - 2], "COMMIT TRANSACTION");
        assert!(texts[count - 1].contains("sp_releaseapplock @Resource = N'messenger migrations of chat'"));
    }

    #[tokio::test(start_paused = true)]
    async fn another_node_is_waited_for_but_not_for_ever() {
        let server = Server::new();
        let mut link = fake::connector(server.dial()).connect(fake::far()).await.unwrap();
        for busy in [-1, -999] {
            server.then(number(busy));
        }
        server.then(number(1));
        migrate(&mut link, &schema(), Commits::Numbered).await.unwrap();
        assert_eq!(server.texts().iter().filter(|text| text.contains("sp_getapplock")).count(), 3);

        server.whenever("sp_getapplock", number(-1));
        let began_at = Instant::now();
        assert!(matches!(migrate(&mut link, &schema(), Commits::Numbered).await, Err(MigrateError::Busy)));
        assert!(began_at.elapsed() >= OTHERS && began_at.elapsed() < OTHERS + 2 * ONE_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_undone_and_the_lock_released() {
        let server = Server::new();
        let mut link = fake::connector(server.dial()).connect(fake::far()).await.unwrap();
        server.then(number(0));
        server.whenever(
            "CREATE SCHEMA",
            refusal(262, 14, "CREATE SCHEMA permission denied in database 'app'."),
        );
        let error = migrate(&mut link, &schema(), Commits::Numbered).await.unwrap_err();
        let MigrateError::Failed(error) = error else { panic!("{error:?}") };
        assert!(error.to_string().starts_with("CREATE SCHEMA permission denied"), "{error}");
        let texts = server.texts();
        assert_eq!(texts[texts.len() - 2], "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION");
        assert!(texts[texts.len() - 1].contains("sp_releaseapplock"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_is_not_ours_is_refused() {
        let server = Server::new();
        let mut link = fake::connector(server.dial()).connect(fake::far()).await.unwrap();
        let none = pending_migrations(&mut link, &schema()).await.unwrap();
        assert_eq!(none.len(), MIGRATIONS.len());
        server.then(rows(&[&[Value::Number(Some(99)), Value::Bytes(&[7; 32])]]));
        let error = pending_migrations(&mut link, &schema()).await.unwrap_err();
        assert!(matches!(error, MigrateError::Refused(Refusal::Newer { found: 99, .. })), "{error:?}");
        server.then(rows(&[&[Value::Number(Some(1)), Value::Bytes(&[7; 32])]]));
        let error = pending_migrations(&mut link, &schema()).await.unwrap_err();
        assert!(matches!(error, MigrateError::Refused(Refusal::Changed { version: 1 })), "{error:?}");
        server.then(returned(0));
        assert_eq!(pending_migrations(&mut link, &schema()).await.unwrap().len(), MIGRATIONS.len());
    }
}
