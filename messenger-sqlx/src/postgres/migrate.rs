use messenger_sql::migrations::{Applied, Migration, Refusal, pending};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::sql::{Schema, statement};

const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "initial", sql: include_str!("migrations/0001_initial.sql") }];

const TABLE: &str = "CREATE TABLE IF NOT EXISTS {schema}.messenger_migrations (
    version     bigint NOT NULL PRIMARY KEY,
    name        text   NOT NULL,
    -- SHA-256 of the migration's text.
    checksum    bytea  NOT NULL,
    applied_at  bigint NOT NULL
);
";

/// The statements that bring an empty database to the tables of this version, for a host that runs migrations
/// itself: SQL text for `psql`, one migration after the other, each followed by the row that remembers it. `None` if
/// `schema` can't be the name of a schema: see [`PostgresBuilder::schema`](super::PostgresBuilder::schema).
///
/// ```
/// let sql = messenger_sqlx::postgres::migrations_sql("messenger").unwrap();
/// assert!(sql.contains("CREATE TABLE \"messenger\".messenger_messages"));
/// ```
pub fn migrations_sql(schema: &str) -> Option<String> {
    let schema = Schema::parse(schema)?;
    let mut text = format!("BEGIN;\n\n{}\n\n{}", create_schema(&schema), schema.fill(TABLE));
    for migration in MIGRATIONS {
        let (version, name) = (migration.version, migration.name);
        text += &format!(
            "\n-- Migration {version}: {name}\n\n{}\n{};\n",
            schema.fill(migration.sql),
            note(&schema, migration)
        );
    }
    text += "\nCOMMIT;\n";
    Some(text)
}

/// Makes the schema if there is none. `IF NOT EXISTS` asks for the right to make one also if there is one.
fn create_schema(schema: &Schema) -> String {
    let name = schema.name();
    format!(
        "DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{name}') THEN CREATE SCHEMA {schema}; END IF;
END $$;"
    )
}

/// Remembers that a migration was done.
fn note(schema: &Schema, migration: &Migration) -> String {
    let checksum: String = migration.checksum().iter().map(|byte| format!("{byte:02x}")).collect();
    let (version, name) = (migration.version, migration.name);
    format!(
        "INSERT INTO {schema}.messenger_migrations (version, name, checksum, applied_at)
VALUES ({version}, '{name}', '\\x{checksum}', extract(epoch FROM now()) * 1000000)"
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

/// Brings the database up to date, in one transaction: of several nodes that start at the same time, one does the
/// work, and the others find it done.
pub(super) async fn migrate(conn: &mut PgConnection, schema: &Schema) -> Result<(), MigrateError> {
    sqlx::raw_sql(statement(format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({})",
        lock(schema)
    )))
    .execute(&mut *conn)
    .await?;
    let done = apply(conn, schema).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    sqlx::raw_sql(end).execute(conn).await?;
    done
}

async fn apply(conn: &mut PgConnection, schema: &Schema) -> Result<(), MigrateError> {
    for migration in pending_migrations(conn, schema).await? {
        if migration.version == 1 {
            let tables = format!("{} {}", create_schema(schema), schema.fill(TABLE));
            sqlx::raw_sql(statement(tables)).execute(&mut *conn).await?;
        }
        sqlx::raw_sql(statement(schema.fill(migration.sql))).execute(&mut *conn).await?;
        sqlx::raw_sql(statement(note(schema, migration))).execute(&mut *conn).await?;
        tracing::info!(version = migration.version, name = migration.name, "migrated the database");
    }
    Ok(())
}

/// The migrations that are still to be done. To be called within a transaction. The right to read is enough.
pub(super) async fn pending_migrations(
    conn: &mut PgConnection,
    schema: &Schema,
) -> Result<&'static [Migration], MigrateError> {
    // Not by `to_regclass`: that may answer by what it knew before another node was waited for.
    let known =
        "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'messenger_migrations')";
    let known = sqlx::query_as(known).persistent(false).bind(schema.name());
    let known: (bool,) = known.fetch_one(&mut *conn).await?;
    let mut applied = vec![];
    if known.0 {
        let all = statement(format!(
            "SELECT version, checksum FROM {schema}.messenger_migrations ORDER BY version"
        ));
        let all: Vec<(i64, Vec<u8>)> = sqlx::query_as(all).persistent(false).fetch_all(conn).await?;
        applied.extend(all.into_iter().map(|(version, checksum)| Applied { version, checksum }));
    }
    pending(MIGRATIONS, &applied).map_err(MigrateError::Refused)
}

/// The number of the advisory lock under which a schema is migrated: of the database, so no other program's number
/// is likely to be the same.
fn lock(schema: &Schema) -> i64 {
    let digest: [u8; 32] = Sha256::digest(format!("messenger migrations of {schema}")).into();
    let mut half = [0; 8];
    half.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(half)
}
