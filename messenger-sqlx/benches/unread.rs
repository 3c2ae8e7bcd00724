//! What a worker's pass over chats takes in which something is unread, among very many.
//!
//! `cargo bench -p messenger-sqlx --all-features --bench unread -- --help`

use messenger_core::ports::Store as _;
use messenger_sqlx::{PostgresStore, SqliteStore};
use messenger_testing::{
    PrivateServer,
    bench::{Options, Result, Spelling, Unread},
    connect, execute,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

const HELP: &str = "\
What a worker's pass takes that claims all chats in which something is unread, 100 at a time, asks for the members of each
who have not read it, and for all that each of these people has not read, and records that they were told, with the job that
does it. One call after the other. Then a group of 1,000 is looked at in which nobody has read any of 1,000 messages.

Usage: cargo bench -p messenger-sqlx --all-features --bench unread -- [OPTION]... [PART]...

  sqlite            a file in the target directory
  postgres          a private server with PostgreSQL's own settings (fsync = on), in the folder for temporary files: set
                    TMPDIR to a folder on a disk where that is none

  --memberships N   ten in each chat (default: 1,000,000)
  --due N           chats of which one member has not read all (default: 10,000)
  --help            this";

fn main() -> Result {
    let numbers = ["--memberships", "--due"];
    let Some(options) = Options::read(HELP, &["sqlite", "postgres"], &numbers)? else { return Ok(()) };
    tokio::runtime::Runtime::new()?.block_on(async {
        if options.wants("sqlite") {
            sqlite(Unread::of(&options)).await?;
        }
        if options.wants("postgres") {
            postgres(Unread::of(&options)).await?;
        }
        Ok(())
    })
}

const SQLITE: Spelling = Spelling {
    schema: "",
    id: |number| format!("unhex(format('%012x70008000%012x', 1735689600000 + {number}, {number}))"),
    series: |last, name| {
        format!(
            "(WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {last})
                SELECT n FROM s) AS {name}"
        )
    },
    bytes: |text| format!("CAST('{text}' AS BLOB)"),
    of_chat: [", commit_no", ", 1"],
    of_message: ["", ""],
};

async fn sqlite(unread: Unread) -> Result {
    // Where the build is, which is on a disk; the system's folder for temporary files may be in memory.
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let file = folder.path().join("unread.db");
    // Makes the tables, and lets go of the file.
    SqliteStore::open(&file).await?.close().await;
    let mut conn = SqliteConnectOptions::new().filename(&file).disable_statement_logging().connect().await?;
    for statement in unread.fill(&SQLITE) {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut conn).await?;
    }
    conn.close().await?;
    let store = SqliteStore::open(&file).await?;
    println!("\nSQLite");
    unread.measure(&store, None).await?;
    store.close().await;
    Ok(())
}

const POSTGRES: Spelling = Spelling {
    schema: "messenger.",
    id: |number| {
        format!(
            "(lpad(to_hex(1735689600000 + {number}), 12, '0') || '70008000' || lpad(to_hex({number}), 12, '0'))::uuid"
        )
    },
    series: |last, name| format!("generate_series(1, {last}) AS {name} (n)"),
    bytes: |text| format!("'{text}'"),
    of_chat: [", commit_no", ", 1"],
    of_message: ["", ""],
};

async fn postgres(unread: Unread) -> Result {
    let server = PrivateServer::start(&[]);
    let store = PostgresStore::connect(server.url()).await?;
    let mut conn = connect(server.url()).await;
    for statement in unread.fill(&POSTGRES) {
        execute(&mut conn, statement).await;
    }
    // What the server would do some time later.
    for upkeep in ["VACUUM ANALYZE", "CHECKPOINT"] {
        execute(&mut conn, upkeep).await;
    }
    println!("\nPostgreSQL");
    unread.measure(&store, Some(server.cpu())).await?;
    store.close().await;
    Ok(())
}
