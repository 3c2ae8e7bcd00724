//! Databases for tests, on the server that `MESSENGER_TEST_POSTGRES_URL` names.

use std::{env, sync::Arc, thread};

use messenger_sqlx::PostgresStore;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, postgres::PgConnectOptions, types::Uuid};

/// A database of its own; it is dropped with this.
pub(crate) struct Database {
    pub(crate) url: String,
    name: String,
}

/// A store in a database with all tables and nothing in them.
pub(crate) async fn fresh() -> (Arc<PostgresStore>, Database) {
    let database = Database::migrated().await;
    let store = PostgresStore::builder(&database.url).max_connections(8).open().await.unwrap();
    (Arc::new(store), database)
}

/// The server, with a user that may make databases.
pub(crate) fn server() -> String {
    env::var("MESSENGER_TEST_POSTGRES_URL").unwrap_or_else(|_| {
        panic!(
            "these tests need a PostgreSQL server: `scripts/test` starts one, or set MESSENGER_TEST_POSTGRES_URL to \
             the URL of one, with a user that may make databases"
        )
    })
}

impl Database {
    /// With nothing in it.
    pub(crate) async fn empty() -> Self {
        Self::of("template1").await
    }

    /// With all tables and nothing in them.
    pub(crate) async fn migrated() -> Self {
        Self::of(&template().await).await
    }

    async fn of(template: &str) -> Self {
        let name = format!("messenger_test_{:032x}", unique());
        let mut admin = connect(&server()).await;
        run(&mut admin, format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        Self { url: named(&server(), &name), name }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // This may be within a runtime already.
        let dropped = thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { run(&mut connect(&server()).await, drop).await });
        });
        // A test that fails because the server is away has said so already.
        let _ = dropped.join();
    }
}

/// A database with all tables, from which the others are copied; made once for each text of the migrations.
async fn template() -> String {
    let sql = messenger_sqlx::postgres::migrations_sql("messenger").unwrap();
    let mut admin = connect(&server()).await;
    let row: (String, i64) = sqlx::query_as("SELECT md5($1), hashtextextended('messenger test template', 0)")
        .bind(sql)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let name = format!("messenger_template_{}", row.0);
    // Tests of several processes may come here at the same time.
    run(&mut admin, format!("SELECT pg_advisory_lock({})", row.1)).await;
    let known: (bool,) = sqlx::query_as("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(&name)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    if !known.0 {
        let draft = format!("messenger_draft_{:032x}", unique());
        run(&mut admin, format!("CREATE DATABASE {draft}")).await;
        let store = PostgresStore::connect(&named(&server(), &draft)).await.unwrap();
        messenger_core::ports::Store::close(&store).await;
        run(&mut admin, format!("ALTER DATABASE {draft} RENAME TO {name}")).await;
    }
    name
}

pub(crate) async fn connect(url: &str) -> PgConnection {
    url.parse::<PgConnectOptions>().unwrap().disable_statement_logging().connect().await.unwrap()
}

pub(crate) async fn run(conn: &mut PgConnection, sql: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(conn).await.unwrap();
}

/// The URL of another database of the same server.
pub(crate) fn named(server: &str, database: &str) -> String {
    let (before, parameters) = server.split_once('?').unwrap_or((server, ""));
    let path = before.rfind('/').filter(|slash| before[..*slash].matches('/').count() >= 2);
    let before = path.map_or(before, |slash| &before[..slash]);
    format!("{before}/{database}?{parameters}")
}

fn unique() -> u128 {
    let context = messenger_core::context::Context::system();
    Uuid::from_bytes(*context.id::<()>().as_bytes()).as_u128()
}
