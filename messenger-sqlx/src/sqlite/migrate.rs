use messenger_sql::migrations::{Applied, Migration, Migrations, Phase, Refusal, hex};
use sqlx::{Connection as _, SqliteConnection};

/// The migrations of a database.
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
    // SQLite keeps no functions.
    routines: None,
};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS messenger_migrations (
    version     INTEGER NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    -- SHA-256 of the migration's text.
    checksum    BLOB    NOT NULL,
    applied_at  INTEGER NOT NULL,
    -- Whether programs that don't know the migration can go on: `expand` or `contract`.
    phase       TEXT    NOT NULL DEFAULT 'contract'
) STRICT;
";

/// For a database of the first release, whose table has no phase.
const ADD_PHASE: &str = "ALTER TABLE messenger_migrations ADD COLUMN phase TEXT NOT NULL DEFAULT 'contract'";

/// The statements that bring an empty database to the tables of this version, for a host that runs migrations itself:
/// SQL text, one migration after the other, each followed by the row that records it.
///
/// ```
/// let sql = messenger_sqlx::sqlite::migrations_sql();
/// assert!(sql.contains("CREATE TABLE messenger_messages"));
/// ```
pub fn migrations_sql() -> String {
    let mut text = TABLE.to_owned();
    for migration in MIGRATIONS.steps {
        let Migration { version, name, phase, sql } = migration;
        text += &format!("\n-- Migration {version}: {name}\n\n{sql}\n");
        text += &format!(
            "INSERT INTO messenger_migrations (version, name, checksum, applied_at, phase)\n    \
             VALUES ({version}, '{name}', x'{}', unixepoch() * 1000000, '{}');\n",
            hex(&migration.checksum()),
            phase.as_str()
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
pub(super) async fn migrate(
    conn: &mut SqliteConnection,
    migrations: &Migrations,
) -> Result<(), MigrateError> {
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(TABLE).execute(&mut *transaction).await?;
    let columns = "SELECT count(*) FROM pragma_table_info('messenger_migrations') WHERE name = 'phase'";
    let columns: i64 = sqlx::query_scalar(columns).fetch_one(&mut *transaction).await?;
    if columns == 0 {
        sqlx::query(ADD_PHASE).execute(&mut *transaction).await?;
    }
    let applied = applied(&mut transaction).await?;
    let pending = migrations.pending(&applied, None).map_err(MigrateError::Refused)?;
    for migration in pending.steps {
        apply(&mut transaction, migration).await?;
        tracing::info!(version = migration.version, name = migration.name, "migrated the database");
    }
    Ok(transaction.commit().await?)
}

async fn applied(conn: &mut SqliteConnection) -> Result<Vec<Applied>, sqlx::Error> {
    let all = sqlx::query_as("SELECT version, checksum, phase FROM messenger_migrations ORDER BY version");
    let all: Vec<(i64, Vec<u8>, String)> = all.fetch_all(conn).await?;
    let step = |(version, checksum, phase): (i64, Vec<u8>, String)| Applied {
        version,
        checksum,
        phase: Phase::parse(&phase),
    };
    Ok(all.into_iter().map(step).collect())
}

async fn apply(conn: &mut SqliteConnection, migration: &Migration) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(migration.sql).execute(&mut *conn).await?;
    sqlx::query(
        "INSERT INTO messenger_migrations (version, name, checksum, applied_at, phase)
         VALUES ($1, $2, $3, unixepoch() * 1000000, $4)",
    )
    .bind(migration.version)
    .bind(migration.name)
    .bind(migration.checksum().as_slice())
    .bind(migration.phase.as_str())
    .execute(conn)
    .await
    .map(drop)
}

#[cfg(test)]
mod tests;
