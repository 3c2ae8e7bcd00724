use messenger_sql::migrations::{Applied, Migration, Refusal, pending};
use sqlx::{Connection as _, SqliteConnection};

const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "initial", sql: include_str!("migrations/0001_initial.sql") }];

const TABLE: &str = "CREATE TABLE IF NOT EXISTS messenger_migrations (
    version     INTEGER NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    -- SHA-256 of the migration's text.
    checksum    BLOB    NOT NULL,
    applied_at  INTEGER NOT NULL
) STRICT;
";

/// The statements that bring an empty database to the tables of this version, for a host that runs migrations
/// itself: SQL text, one migration after the other, each followed by the row that remembers it.
///
/// ```
/// let sql = messenger_sqlx::sqlite::migrations_sql();
/// assert!(sql.contains("CREATE TABLE messenger_messages"));
/// ```
pub fn migrations_sql() -> String {
    let mut text = TABLE.to_owned();
    for migration in MIGRATIONS {
        let checksum: String = migration.checksum().iter().map(|byte| format!("{byte:02x}")).collect();
        let (version, name) = (migration.version, migration.name);
        text += &format!("\n-- Migration {version}: {name}\n\n{}\n", migration.sql);
        text += &format!(
            "INSERT INTO messenger_migrations (version, name, checksum, applied_at)\n    \
             VALUES ({version}, '{name}', x'{checksum}', unixepoch() * 1000000);\n"
        );
    }
    text
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

/// Brings the database up to date, in one transaction: of several processes that open the file at the same
/// time, one does the work, and the others find it done.
pub(super) async fn migrate(conn: &mut SqliteConnection) -> Result<(), MigrateError> {
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(TABLE).execute(&mut *transaction).await?;
    let applied = sqlx::query_as("SELECT version, checksum FROM messenger_migrations ORDER BY version");
    let applied: Vec<(i64, Vec<u8>)> = applied.fetch_all(&mut *transaction).await?;
    let applied: Vec<_> =
        applied.into_iter().map(|(version, checksum)| Applied { version, checksum }).collect();
    for migration in pending(MIGRATIONS, &applied).map_err(MigrateError::Refused)? {
        apply(&mut transaction, migration).await?;
        tracing::info!(version = migration.version, name = migration.name, "migrated the database");
    }
    Ok(transaction.commit().await?)
}

async fn apply(conn: &mut SqliteConnection, migration: &Migration) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(migration.sql).execute(&mut *conn).await?;
    sqlx::query(
        "INSERT INTO messenger_migrations (version, name, checksum, applied_at)
         VALUES ($1, $2, $3, unixepoch() * 1000000)",
    )
    .bind(migration.version)
    .bind(migration.name)
    .bind(migration.checksum().as_slice())
    .execute(conn)
    .await
    .map(drop)
}
