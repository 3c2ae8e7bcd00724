use std::{future::Future, time::Duration};

use messenger_core::ports::{StoreError, StoreResult};
use messenger_sql::{
    columns::Columns,
    migrations::{Applied, AppliedRoutines, Migration, Migrations, Pending, Phase, Refusal, Routines, hex},
};
use tiberius::error::Error;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{
    connect::{ConnectError, Link, batch},
    row::SqlRow,
    schema::Schema,
};

/// The migrations of a database. The first step contains the routines as they were when it was written; the current
/// ones are in the text that runs after the steps.
pub(crate) static MIGRATIONS: Migrations = Migrations {
    steps: &[
        Migration {
            version: 1,
            name: "initial",
            phase: Phase::Contract,
            sql: include_str!("migrations/0001_initial.sql"),
        },
        Migration {
            version: 2,
            name: "changed_lately",
            phase: Phase::Expand,
            sql: include_str!("migrations/0002_changed_lately.sql"),
        },
        Migration {
            version: 3,
            name: "jobs",
            phase: Phase::Expand,
            sql: include_str!("migrations/0003_jobs.sql"),
        },
        Migration {
            version: 4,
            name: "unread",
            phase: Phase::Expand,
            sql: include_str!("migrations/0004_unread.sql"),
        },
        Migration {
            version: 5,
            name: "confirmed_addresses",
            phase: Phase::Expand,
            sql: include_str!("migrations/0005_confirmed_addresses.sql"),
        },
        Migration {
            version: 6,
            name: "keys",
            phase: Phase::Expand,
            sql: include_str!("migrations/0006_keys.sql"),
        },
        Migration {
            version: 7,
            name: "retention",
            phase: Phase::Expand,
            sql: include_str!("migrations/0007_retention.sql"),
        },
    ],
    routines: Some(Routines { release: 5, sql: include_str!("migrations/routines.sql") }),
};

/// The table that records the steps.
const STEPS: &str = "IF OBJECT_ID(N'{schema}.messenger_migrations', N'U') IS NULL
CREATE TABLE {schema}.messenger_migrations (
    version     bigint       NOT NULL CONSTRAINT messenger_migrations_pkey PRIMARY KEY,
    name        nvarchar(64) NOT NULL,
    -- SHA-256 of the migration's text.
    checksum    binary(32)   NOT NULL,
    applied_at  bigint       NOT NULL
);";

/// Adds the column that records whether nodes that don't know a step can continue: `expand` or `contract`.
const PHASE: &str = "IF COL_LENGTH(N'{schema}.messenger_migrations', N'phase') IS NULL
ALTER TABLE {schema}.messenger_migrations
    ADD phase nvarchar(16) NOT NULL CONSTRAINT messenger_migrations_phase DEFAULT N'contract';";

/// The table that records the routines. It reveals nothing of what is stored, and a node that may not change tables
/// must be able to read it.
const ROUTINES: &str = "IF OBJECT_ID(N'{schema}.messenger_routines', N'U') IS NULL
CREATE TABLE {schema}.messenger_routines (
    release     bigint       NOT NULL CONSTRAINT messenger_routines_pkey PRIMARY KEY,
    -- SHA-256 of the text of all procedures and functions.
    checksum    binary(32)   NOT NULL,
    applied_at  bigint       NOT NULL
);
GRANT SELECT ON {schema}.messenger_routines TO public;";

const TABLES: [&str; 3] = [STEPS, PHASE, ROUTINES];

/// How to talk to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) commits: Commits,
    /// Whether it is SQL Server itself. Other engines that speak its protocol have no `CREATE OR ALTER`, and other
    /// error numbers for a lock timeout.
    pub(crate) is_sql_server: bool,
}

impl Dialect {
    pub(crate) const SQL_SERVER: Self = Self { commits: Commits::Numbered, is_sql_server: true };

    /// A statement that creates or replaces a routine. Callers use the old one until this is committed.
    fn routine(self, text: &str) -> String {
        const CREATE_OR_ALTER: &str = "CREATE OR ALTER ";
        let Some((comment, rest)) = text.split_once(CREATE_OR_ALTER).filter(|_| !self.is_sql_server) else {
            return text.to_owned();
        };
        let name = rest.split([' ', '\n']).nth(1).unwrap_or_default();
        let quoted = rest.replace('\'', "''");
        format!(
            "{comment}IF OBJECT_ID(N'{name}') IS NULL EXEC(N'CREATE {quoted}') ELSE EXEC(N'ALTER {quoted}')"
        )
    }
}

/// How commits are numbered: by `rowversion`, or not at all on another engine that does not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commits {
    Numbered,
    Bare,
}

impl Commits {
    const PROBE: &str = "DECLARE @probe TABLE (n rowversion NOT NULL);
SELECT CAST(MIN_ACTIVE_ROWVERSION() AS bigint);";

    /// Probes an engine other than SQL Server. Not in a transaction, which a refused statement would end.
    pub(crate) async fn ask(link: &mut Link) -> Result<Self, ConnectError> {
        match batch(link, Self::PROBE).await {
            Ok(_) => Ok(Self::Numbered),
            Err(Error::Server(_)) => Ok(Self::Bare),
            Err(error) => Err(error.into()),
        }
    }

    /// Fills text of our own with the column that numbers commits, and the schema's quoted name.
    fn fill(self, schema: &Schema, text: &str) -> String {
        let (commit, history) = match self {
            Self::Numbered => ("rowversion NOT NULL", "NEWID()"),
            Self::Bare => ("bigint NOT NULL DEFAULT 0", "NULL"),
        };
        schema.fill(&text.replace("{commit}", commit).replace("{history}", history))
    }
}

/// For hosts that run the statements with a tool that has other defaults: objects created with other settings can't be
/// used.
const SETTINGS: &str = "SET XACT_ABORT ON;
SET NOCOUNT ON;
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET ANSI_PADDING ON;
SET ANSI_WARNINGS ON;
SET ARITHABORT ON;
SET CONCAT_NULL_YIELDS_NULL ON;
SET NUMERIC_ROUNDABORT OFF;";

/// Once a batch has failed there is no transaction any more, and what follows would be run without one.
const STOP: &str = "IF @@ERROR <> 0 AND @@TRANCOUNT > 0 ROLLBACK TRANSACTION;
IF @@TRANCOUNT = 0 SET NOEXEC ON;";

/// The statements that bring an empty database to the tables of this version, for a host that runs migrations itself:
/// SQL text for `sqlcmd`, with `GO` between the batches, one migration after the other, each followed by the row that
/// records it, and the procedures and functions at the end. It is one transaction: after a batch that fails, none of
/// the others is applied. `None` if `schema` can't be the name of a schema: see
/// [`MssqlBuilder::schema`](crate::MssqlBuilder::schema).
///
/// ```
/// let sql = messenger_mssql::migrations_sql("messenger").unwrap();
/// assert!(sql.contains("CREATE TABLE [messenger].messenger_messages"));
/// ```
pub fn migrations_sql(schema: &str) -> Option<String> {
    let schema = Schema::parse(schema)?;
    let mut parts = vec![SETTINGS.to_owned(), begin(&schema), create_schema(&schema)];
    parts.extend(TABLES.map(|table| schema.fill(table)));
    for migration in MIGRATIONS.steps {
        parts.push(format!("-- Migration {}: {}", migration.version, migration.name));
        parts.extend(batches(&Commits::Numbered.fill(&schema, migration.sql)));
        parts.push(note(&schema, migration));
    }
    if let Some(routines) = MIGRATIONS.routines {
        parts.push(format!("-- Procedures and functions of release {}", routines.release));
        parts.extend(batches(&schema.fill(routines.sql)));
        parts.push(note_routines(&schema, &routines));
    }
    let mut text = String::new();
    for part in parts {
        text += &part;
        // A part with only comments is no batch, and settings are made before the transaction begins.
        if part.lines().all(|line| line.starts_with("--")) {
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

/// Begins a transaction during which no other node migrates the database. Without the lock, no transaction is begun.
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

/// Splits text into batches at lines with only `GO`: a procedure must be alone in its batch.
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

/// Creates the schema if it does not exist. `CREATE SCHEMA` must be alone in its batch, so it is run as a string.
fn create_schema(schema: &Schema) -> String {
    format!("IF SCHEMA_ID(N'{}') IS NULL EXEC(N'CREATE SCHEMA {schema}');", schema.name())
}

/// Records that a migration was applied.
fn note(schema: &Schema, migration: &Migration) -> String {
    let Migration { version, name, phase, .. } = migration;
    format!(
        "INSERT INTO {schema}.messenger_migrations (version, name, checksum, applied_at, phase)
VALUES ({version}, N'{name}', 0x{}, DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME()), N'{}');",
        hex(&migration.checksum()),
        phase.as_str()
    )
}

/// Records the release of the routines.
fn note_routines(schema: &Schema, routines: &Routines) -> String {
    format!(
        "INSERT INTO {schema}.messenger_routines (release, checksum, applied_at)
VALUES ({}, 0x{}, DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME()));",
        routines.release,
        hex(&routines.checksum())
    )
}

/// Why a database could not be brought up to date.
#[derive(Debug)]
pub(crate) enum MigrateError {
    Refused(Refusal),
    Failed(ConnectError),
    /// The table of migrations has contents that this backend would not write.
    Unreadable(StoreError),
    /// Another node is still migrating.
    Busy,
}

impl MigrateError {
    /// Whether the refused statement waited for locks of others, or was chosen to resolve a deadlock.
    fn is_about_locks(&self) -> bool {
        matches!(self, Self::Failed(ConnectError::Server(error)) if error.is_worth_another_try())
    }
}

impl From<Error> for MigrateError {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

/// The maximum wait for another node.
const OTHERS: Duration = Duration::from_secs(15 * 60);
/// The maximum duration of this node's own work.
const OURS: Duration = Duration::from_secs(3600);
/// How long the server waits for the lock before it reports that it is taken.
const ONE_WAIT: Duration = Duration::from_secs(5);

/// How long a step waits for a table lock. Others who want the table queue behind it, so it then gives way, and the
/// migration starts again.
const TABLE_WAIT: Duration = Duration::from_secs(2);
/// The pause for the others between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Determines what is still to be applied. Read access is enough. While another node migrates, this waits for it.
pub(crate) async fn pending_migrations(
    link: &mut Link,
    schema: &Schema,
    migrations: &Migrations,
) -> Result<Pending, MigrateError> {
    timeout(OTHERS, look(link, schema, migrations)).await.unwrap_or(Err(MigrateError::Busy))
}

/// Brings the database up to date, in one transaction: of several nodes that start at the same time, one does the work,
/// and the others find it done. Running nodes continue in the meantime. After an error the connection can't be used any
/// more.
pub(crate) async fn migrate(
    link: &mut Link,
    schema: &Schema,
    migrations: &Migrations,
    dialect: Dialect,
) -> Result<(), MigrateError> {
    lock(link, schema).await?;
    if dialect.is_sql_server {
        run(link, &format!("SET LOCK_TIMEOUT {}", TABLE_WAIT.as_millis())).await?;
    }
    let until = Instant::now() + OTHERS;
    let done = loop {
        let done = within(OURS, apply(link, schema, migrations, dialect)).await;
        let Err(error) = done else { break Ok(()) };
        // Closing the connection would also roll back, but others are waiting for it.
        let undone = within(ONE_WAIT, run(link, "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")).await;
        if undone.is_err() {
            return Err(error);
        }
        if !error.is_about_locks() || Instant::now() >= until {
            break Err(error);
        }
        tracing::info!(schema = schema.name(), "others use the tables; migrating them later");
        sleep(PAUSE).await;
    };
    let release =
        format!("EXEC sp_releaseapplock @Resource = N'{}', @LockOwner = N'Session'", resource(schema));
    let released = within(ONE_WAIT, run(link, &release)).await;
    done.and(released)
}

/// Admits one node at a time, inside a transaction or not.
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
        // Some engines report at once that the lock is taken.
        sleep(Duration::from_millis(500).saturating_sub(asked_at.elapsed())).await;
    }
    Err(MigrateError::Busy)
}

/// The lock belongs to the database, so only another schema of ours could use the same name.
fn resource(schema: &Schema) -> String {
    format!("messenger migrations of {}", schema.name())
}

async fn apply(
    link: &mut Link,
    schema: &Schema,
    migrations: &Migrations,
    dialect: Dialect,
) -> Result<(), MigrateError> {
    run(link, "BEGIN TRANSACTION").await?;
    let pending = look(link, schema, migrations).await?;
    if !pending.is_empty() {
        run(link, &create_schema(schema)).await?;
        for table in TABLES {
            run(link, &schema.fill(table)).await?;
        }
    }
    for migration in pending.steps {
        for text in batches(&dialect.commits.fill(schema, migration.sql)) {
            run(link, &text).await?;
        }
        run(link, &note(schema, migration)).await?;
        tracing::info!(version = migration.version, name = migration.name, "migrated the database");
    }
    if let Some(routines) = pending.routines {
        for text in batches(&schema.fill(routines.sql)) {
            run(link, &dialect.routine(&text)).await?;
        }
        run(link, &note_routines(schema, &routines)).await?;
        tracing::info!(release = routines.release, "replaced the procedures of the database");
    }
    run(link, "COMMIT TRANSACTION").await
}

async fn look(link: &mut Link, schema: &Schema, migrations: &Migrations) -> Result<Pending, MigrateError> {
    // Names in a statement are resolved when it is reached, but a column missing from a table of the first release
    // would be an error at once: so this part is run as a string.
    let query = format!(
        "IF COL_LENGTH(N'{schema}.messenger_migrations', N'phase') IS NOT NULL
    EXEC(N'SELECT version, checksum, phase FROM {schema}.messenger_migrations ORDER BY version');
ELSE IF OBJECT_ID(N'{schema}.messenger_migrations', N'U') IS NOT NULL
    SELECT version, checksum, N'contract' FROM {schema}.messenger_migrations ORDER BY version;"
    );
    let rows = batch(link, &query).await?;
    let steps = read(&rows, |columns| {
        let version = columns.integer()?;
        let checksum = columns.optional_bytes()?.unwrap_or_default().to_vec();
        Ok(Applied { version, checksum, phase: Phase::parse(columns.text()?) })
    })?;
    let query = format!(
        "IF OBJECT_ID(N'{schema}.messenger_routines', N'U') IS NOT NULL
    SELECT TOP (1) release, checksum FROM {schema}.messenger_routines ORDER BY release DESC;"
    );
    let rows = batch(link, &query).await?;
    let routines = read(&rows, |columns| {
        let release = columns.integer()?;
        Ok(AppliedRoutines { release, checksum: columns.optional_bytes()?.unwrap_or_default().to_vec() })
    })?;
    migrations.pending(&steps, routines.first()).map_err(MigrateError::Refused)
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
mod rollout;
#[cfg(test)]
mod tests;
