use std::{env, future::Future, thread};

use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

/// A database of its own on a server that others use, too; it is dropped with this.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
}

/// The URL of the server that tests are to use, with a user that may make databases.
///
/// # Panics
/// If there is none, for a test that is passed over in silence is none.
pub fn server_url() -> String {
    env::var("MESSENGER_TEST_POSTGRES_URL").expect(
        "this test needs a PostgreSQL server: run scripts/test, which starts one, or set MESSENGER_TEST_POSTGRES_URL \
         to the URL of one, with a user that may make databases",
    )
}

impl Database {
    /// With nothing in it.
    pub async fn empty(server: &str) -> Self {
        Self::of(server, "template1").await
    }

    /// A copy of the template `name`, which is `made` first if the server has none of this name.
    pub async fn copy<F: Future<Output = ()>>(
        server: &str,
        name: &str,
        make: impl FnOnce(String) -> F,
    ) -> Self {
        ensure_template(server, name, make).await;
        Self::of(server, name).await
    }

    async fn of(server: &str, template: &str) -> Self {
        let name = fresh_name("test");
        let mut admin = connect(server).await;
        execute(&mut admin, format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        Self { server: server.to_owned(), name }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        with_database(&self.server, &self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let server = self.server.clone();
        // This may be within a runtime already.
        let dropped = thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move { execute(&mut connect(&server).await, drop).await });
        });
        // A test that has failed because the server is away has said so already.
        let _ = dropped.join();
    }
}

async fn ensure_template<F: Future<Output = ()>>(server: &str, name: &str, make: impl FnOnce(String) -> F) {
    let mut admin = connect(server).await;
    // Tests of several processes may come here at the same time. The lock goes with the connection.
    execute(&mut admin, "SELECT pg_advisory_lock(hashtextextended('messenger test template', 0))").await;
    let known: (bool,) = sqlx::query_as("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(name)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    if !known.0 {
        let draft = fresh_name("draft");
        execute(&mut admin, format!("CREATE DATABASE {draft}")).await;
        make(with_database(server, &draft)).await;
        execute(&mut admin, format!("ALTER DATABASE {draft} RENAME TO {name}")).await;
    }
}

/// A connection to the database of a URL.
pub async fn connect(url: &str) -> PgConnection {
    url.parse::<PgConnectOptions>().unwrap().disable_statement_logging().connect().await.unwrap()
}

/// Runs statements without parameters.
pub async fn execute(conn: &mut PgConnection, sql: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(conn).await.unwrap();
}

/// The URL of another database of the same server.
pub fn with_database(server: &str, database: &str) -> String {
    let (scheme, rest) = server.split_once("://").unwrap();
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
    let mark = if parameters.is_empty() { "" } else { "?" };
    format!("{scheme}://{authority}/{database}{mark}{parameters}")
}

fn fresh_name(kind: &str) -> String {
    format!("messenger_{kind}_{}", Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_another_database() {
        for (server, url) in [
            ("postgres://a:b@h:1/x", "postgres://a:b@h:1/db"),
            ("postgres://h", "postgres://h/db"),
            ("postgres://h/?sslmode=disable", "postgres://h/db?sslmode=disable"),
        ] {
            assert_eq!(with_database(server, "db"), url);
        }
    }
}
