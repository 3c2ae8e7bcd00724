use std::time::Duration;

use messenger_sql::migrations::{
    Applied, AppliedRoutines, Migration, Migrations, Pending, Phase, Refusal, Routines, hex,
};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use tokio::time::{Instant, sleep};

use super::{
    errors::is_about_locks,
    sql::{Schema, statement},
};

/// The migrations of a database. The first step contains the routines as they were when it was written; the current
/// ones are in the text that runs after the steps.
pub(super) static MIGRATIONS: Migrations = Migrations {
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
            name: "presence",
            phase: Phase::Expand,
            sql: include_str!("migrations/0003_presence.sql"),
        },
        Migration {
            version: 4,
            name: "jobs",
            phase: Phase::Expand,
            sql: include_str!("migrations/0004_jobs.sql"),
        },
        Migration {
            version: 5,
            name: "unread",
            phase: Phase::Expand,
            sql: include_str!("migrations/0005_unread.sql"),
        },
        Migration {
            version: 6,
            name: "confirmed_addresses",
            phase: Phase::Expand,
            sql: include_str!("migrations/0006_confirmed_addresses.sql"),
        },
        Migration {
            version: 7,
            name: "keys",
            phase: Phase::Expand,
            sql: include_str!("migrations/0007_keys.sql"),
        },
        Migration {
            version: 8,
            name: "retention",
            phase: Phase::Expand,
            sql: include_str!("migrations/0008_retention.sql"),
        },
    ],
    routines: Some(Routines { release: 4, sql: include_str!("migrations/routines.sql") }),
};

/// The tables that record applied steps and routines. They reveal nothing of what is stored, and a node that may not
/// change tables must be able to read them.
const TABLES: &str = "CREATE TABLE IF NOT EXISTS {schema}.messenger_migrations (
    version     bigint NOT NULL PRIMARY KEY,
    name        text   NOT NULL,
    -- SHA-256 of the migration's text.
    checksum    bytea  NOT NULL,
    applied_at  bigint NOT NULL
);
-- Whether nodes that don't know the migration can go on: `expand` or `contract`. Asked before, because the statement locks
-- the table also where there is nothing to add, and nodes that start meanwhile have to read it.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute
        WHERE attrelid = '{schema}.messenger_migrations'::regclass AND attname = 'phase' AND NOT attisdropped)
    THEN
        ALTER TABLE {schema}.messenger_migrations ADD COLUMN phase text NOT NULL DEFAULT 'contract';
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS {schema}.messenger_routines (
    release     bigint NOT NULL PRIMARY KEY,
    -- SHA-256 of the text of all functions.
    checksum    bytea  NOT NULL,
    applied_at  bigint NOT NULL
);
GRANT SELECT ON {schema}.messenger_routines TO PUBLIC;
";

/// The statements that bring an empty database to the tables of this version, for a host that runs migrations itself:
/// SQL text for `psql`, one migration after the other, each followed by the row that records it, and the functions at
/// the end. `None` if `schema` can't be the name of a schema: see
/// [`PostgresBuilder::schema`](super::PostgresBuilder::schema).
///
/// ```
/// let sql = messenger_sqlx::postgres::migrations_sql("messenger").unwrap();
/// assert!(sql.contains("CREATE TABLE \"messenger\".messenger_messages"));
/// ```
pub fn migrations_sql(schema: &str) -> Option<String> {
    let schema = Schema::parse(schema)?;
    let mut text = format!("BEGIN;\n\n{}\n\n{}", create_schema(&schema), schema.fill(TABLES));
    for migration in MIGRATIONS.steps {
        let (version, name) = (migration.version, migration.name);
        text += &format!(
            "\n-- Migration {version}: {name}\n\n{}\n{};\n",
            schema.fill(migration.sql),
            note(&schema, migration)
        );
    }
    if let Some(routines) = MIGRATIONS.routines {
        text += &format!(
            "\n-- Functions of release {}\n\n{}\n{};\n",
            routines.release,
            schema.fill(routines.sql),
            note_routines(&schema, &routines)
        );
    }
    text += "\nCOMMIT;\n";
    Some(text)
}

/// Creates the schema if it does not exist. `IF NOT EXISTS` would require the right to create one even if it exists.
fn create_schema(schema: &Schema) -> String {
    let name = schema.name();
    format!(
        "DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{name}') THEN CREATE SCHEMA {schema}; END IF;
END $$;"
    )
}

/// Records that a migration was applied.
fn note(schema: &Schema, migration: &Migration) -> String {
    let Migration { version, name, phase, .. } = migration;
    format!(
        "INSERT INTO {schema}.messenger_migrations (version, name, checksum, applied_at, phase)
VALUES ({version}, '{name}', '\\x{}', extract(epoch FROM now()) * 1000000, '{}')",
        hex(&migration.checksum()),
        phase.as_str()
    )
}

/// Records the release of the routines.
fn note_routines(schema: &Schema, routines: &Routines) -> String {
    format!(
        "INSERT INTO {schema}.messenger_routines (release, checksum, applied_at)
VALUES ({}, '\\x{}', extract(epoch FROM now()) * 1000000)",
        routines.release,
        hex(&routines.checksum())
    )
}

/// Why a database could not be brought up to date.
#[derive(Debug)]
pub(super) enum MigrateError {
    Refused(Refusal),
    Failed(sqlx::Error),
}

impl From<sqlx::Error> for MigrateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

/// How long a step waits for a table lock. Others who want the table queue behind it, so it then gives way, and the
/// migration starts again.
const ONE_WAIT: Duration = Duration::from_secs(2);
/// The pause for the others between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// How long attempts to lock the tables continue.
const ALL_WAITS: Duration = Duration::from_secs(15 * 60);

/// Brings the database up to date, in one transaction: of several nodes that start at the same time, one does the work,
/// and the others find it done. Running nodes continue in the meantime.
pub(super) async fn migrate(
    conn: &mut PgConnection,
    schema: &Schema,
    migrations: &Migrations,
) -> Result<(), MigrateError> {
    let until = Instant::now() + ALL_WAITS;
    loop {
        match attempt(conn, schema, migrations).await {
            Err(MigrateError::Failed(error)) if is_about_locks(&error) && Instant::now() < until => {
                tracing::info!(schema = schema.name(), "others use the tables; migrating them later");
                sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

async fn attempt(
    conn: &mut PgConnection,
    schema: &Schema,
    migrations: &Migrations,
) -> Result<(), MigrateError> {
    // The wait for another node that migrates is unlimited; the waits for tables are not.
    sqlx::raw_sql(statement(format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
         SET LOCAL client_min_messages = warning; SELECT pg_advisory_xact_lock({}); SET LOCAL lock_timeout = {}",
        lock(schema),
        ONE_WAIT.as_millis()
    )))
    .execute(&mut *conn)
    .await?;
    let done = apply(conn, schema, migrations).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    sqlx::raw_sql(end).execute(conn).await?;
    done
}

async fn apply(
    conn: &mut PgConnection,
    schema: &Schema,
    migrations: &Migrations,
) -> Result<(), MigrateError> {
    let pending = pending_migrations(conn, schema, migrations).await?;
    if pending.is_empty() {
        return Ok(());
    }
    run(conn, format!("{} {}", create_schema(schema), schema.fill(TABLES))).await?;
    for migration in pending.steps {
        run(conn, schema.fill(migration.sql)).await?;
        run(conn, note(schema, migration)).await?;
        tracing::info!(version = migration.version, name = migration.name, "migrated the database");
    }
    if let Some(routines) = pending.routines {
        run(conn, schema.fill(routines.sql)).await?;
        run(conn, note_routines(schema, &routines)).await?;
        tracing::info!(release = routines.release, "replaced the functions of the database");
    }
    Ok(())
}

async fn run(conn: &mut PgConnection, text: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(statement(text)).execute(conn).await.map(drop)
}

/// Determines which migrations are still to be applied. Must be called within a transaction. Read access is enough.
pub(super) async fn pending_migrations(
    conn: &mut PgConnection,
    schema: &Schema,
    migrations: &Migrations,
) -> Result<Pending, MigrateError> {
    // Not by `to_regclass`: it may answer from a state before the wait for another node.
    let known =
        "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'messenger_migrations'),
        EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'messenger_routines')";
    let known = sqlx::query_as(known).persistent(false).bind(schema.name());
    let (has_steps, has_routines): (bool, bool) = known.fetch_one(&mut *conn).await?;
    let steps = if has_steps { applied_steps(conn, schema).await? } else { vec![] };
    let routines = if has_routines { applied_routines(conn, schema).await? } else { None };
    migrations.pending(&steps, routines.as_ref()).map_err(MigrateError::Refused)
}

async fn applied_steps(conn: &mut PgConnection, schema: &Schema) -> Result<Vec<Applied>, sqlx::Error> {
    // By way of JSON, because a database of the first release has no column for the phase.
    let all = statement(format!(
        "SELECT m.version, m.checksum, coalesce(to_jsonb(m) ->> 'phase', 'contract')
         FROM {schema}.messenger_migrations AS m ORDER BY m.version"
    ));
    let all: Vec<(i64, Vec<u8>, String)> = sqlx::query_as(all).persistent(false).fetch_all(conn).await?;
    let step = |(version, checksum, phase): (i64, Vec<u8>, String)| Applied {
        version,
        checksum,
        phase: Phase::parse(&phase),
    };
    Ok(all.into_iter().map(step).collect())
}

async fn applied_routines(
    conn: &mut PgConnection,
    schema: &Schema,
) -> Result<Option<AppliedRoutines>, sqlx::Error> {
    let last = statement(format!(
        "SELECT release, checksum FROM {schema}.messenger_routines ORDER BY release DESC LIMIT 1"
    ));
    let last: Option<(i64, Vec<u8>)> = sqlx::query_as(last).persistent(false).fetch_optional(conn).await?;
    Ok(last.map(|(release, checksum)| AppliedRoutines { release, checksum }))
}

/// The number of the advisory lock under which a schema is migrated. Advisory locks are shared by the whole database,
/// so the number is chosen to be unlikely in other programs.
fn lock(schema: &Schema) -> i64 {
    let digest: [u8; 32] = Sha256::digest(format!("messenger migrations of {schema}")).into();
    let mut half = [0; 8];
    half.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(half)
}

#[cfg(test)]
mod tests;
