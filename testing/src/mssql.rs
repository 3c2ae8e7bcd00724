use std::{env, fmt, net::SocketAddr, thread, time::Duration};

use tiberius::{AuthMethod, Client, ColumnData, Config, Row, error::Error};
use tokio::{
    net::TcpStream,
    runtime::Builder,
    sync::Mutex,
    time::{Instant, sleep, timeout},
};
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt as _};
use uuid::Uuid;

use crate::with_database;

/// A database of its own on an SQL Server that others use, too; it is dropped with this.
pub struct MssqlDatabase {
    server: String,
    name: String,
}

/// The URL of the SQL Server that tests are to use, with a user that may make databases.
///
/// # Panics
/// If there is none, for a test that is passed over in silence is none.
pub fn mssql_url() -> String {
    env::var("MESSENGER_TEST_MSSQL_URL").expect(
        "this test needs an SQL Server: run `scripts/test mssql`, which starts one where Docker answers, or set \
         MESSENGER_TEST_MSSQL_URL to `mssql://USER:PASSWORD@HOST:PORT/master?trustServerCertificate=true`, with a \
         user that may make databases",
    )
}

impl MssqlDatabase {
    /// Longer than a busy server takes to make or to drop one.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// With nothing in it, on the server that tests are to use.
    pub async fn create() -> Self {
        // The server makes one at a time: it locks the database of which the new one is a copy.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
        const MODEL_IS_LOCKED: u32 = 1807;
        let server = mssql_url();
        let name = format!("messenger_test_{}", Uuid::new_v4().simple());
        let _turn = ONE_AT_A_TIME.lock().await;
        let until = Instant::now() + Self::PATIENCE;
        // Other processes make and drop some at the same time, over which not every engine says the same.
        let mut tries = 10;
        let mut admin = connect(&server).await.unwrap();
        while let Err(error) = run(&mut admin, &format!("CREATE DATABASE [{name}]")).await {
            tries -= u32::from(error.code() != Some(MODEL_IS_LOCKED));
            assert!(tries > 0 && Instant::now() < until, "a database can't be made: {error}");
            sleep(Duration::from_millis(50)).await;
        }
        Self { server, name }
    }

    /// The same, which keeps versions of rows for those who read (`READ_COMMITTED_SNAPSHOT`).
    pub async fn create_versioned() -> Self {
        let database = Self::create().await;
        let name = &database.name;
        // A text of its own, because an engine that always keeps versions does not know the statement.
        database
            .execute(&format!(
                "IF EXISTS (SELECT 1 FROM sys.databases WHERE name = '{name}' AND is_read_committed_snapshot_on = 0)
    EXEC(N'ALTER DATABASE [{name}] SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE')"
            ))
            .await;
        database
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL.
    pub fn url(&self) -> String {
        with_database(&self.server, &self.name)
    }

    /// Its URL, by way of this address.
    pub fn url_by_way_of(&self, relay: SocketAddr) -> String {
        let url = self.url();
        let place = Place::of(&url);
        url.replacen(&format!("{}/", place.authority), &format!("{relay}/"), 1)
    }

    /// Host and port of its server.
    pub fn address(&self) -> String {
        let Place { host, port, .. } = Place::of(&self.server);
        format!("{host}:{port}")
    }

    /// A connection, encrypted as those of the store are.
    ///
    /// # Errors
    /// If the server does not let us in: there are only so many at a time.
    pub async fn connect(&self) -> Result<MssqlConnection, Error> {
        connect(&self.url()).await
    }

    /// Runs a script, whose batches are between lines of nothing but `GO`, on a connection of its own.
    pub async fn execute(&self, script: &str) {
        let mut client = connect(&self.url()).await.unwrap();
        for batch in script.split("\nGO\n").filter(|batch| !batch.trim().is_empty()) {
            run(&mut client, batch).await.unwrap_or_else(|error| panic!("{error}, in {batch}"));
        }
    }

    /// The `bigint` that a query answers with.
    pub async fn number(&self, query: &str) -> i64 {
        let mut client = connect(&self.url()).await.unwrap();
        let rows = run(&mut client, query).await.unwrap_or_else(|error| panic!("{error}, in {query}"));
        rows[0].try_get(0).unwrap().unwrap()
    }

    /// Each row of each table as text, bytes in hex.
    pub async fn rows(&self) -> String {
        const TABLES: &str =
            "SELECT CONCAT(N'[', TABLE_SCHEMA, N'].[', TABLE_NAME, N']') FROM INFORMATION_SCHEMA.TABLES
            WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA <> 'sys'";
        let mut client = connect(&self.url()).await.unwrap();
        let mut all = String::new();
        for table in run(&mut client, TABLES).await.unwrap() {
            let table: &str = table.try_get(0).unwrap().unwrap();
            for row in run(&mut client, &format!("SELECT * FROM {table}")).await.unwrap() {
                let cells: Vec<_> = row.into_iter().map(shown).collect();
                all.push_str(&cells.join(","));
                all.push('\n');
            }
        }
        all
    }

    /// Drops it now.
    ///
    /// # Panics
    /// If that can't be done.
    pub async fn end(self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        std::mem::forget(self);
        Self::remove(&server, &name).await;
    }

    async fn remove(server: &str, name: &str) {
        let until = Instant::now() + Self::PATIENCE;
        loop {
            let removed = timeout(Self::PATIENCE, try_to_remove(server, name)).await;
            match removed.unwrap() {
                Ok(()) => return,
                // Connections that were closed just now are still in use for the server.
                Err(error) => {
                    assert!(Instant::now() < until, "the database {name} can't be dropped: {error}");
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for MssqlDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // This may be within a runtime already.
        let dropped = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(Self::remove(&server, &name));
        });
        // A test that has failed because the server is away has said so already.
        let _ = dropped.join();
    }
}

impl fmt::Debug for MssqlDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MssqlDatabase").field(&self.name).finish()
    }
}

async fn try_to_remove(server: &str, name: &str) -> Result<(), Error> {
    let mut admin = connect(server).await?;
    // There may be connections yet, of a store that is dropped later or of a test that has failed.
    let alone = format!("ALTER DATABASE [{name}] SET SINGLE_USER WITH ROLLBACK IMMEDIATE");
    if run(&mut admin, &alone).await.is_err() {
        // Not every engine that speaks the protocol has it.
        let end = format!(
            "DECLARE @sessions nvarchar(max) = N'';
SELECT @sessions = @sessions + N'KILL ' + CAST(session_id AS nvarchar(11)) + N';'
FROM sys.dm_exec_sessions WHERE database_id = DB_ID(N'{name}') AND session_id <> @@SPID;
EXEC(@sessions);"
        );
        // One may have ended by itself meanwhile.
        let _ = run(&mut admin, &end).await;
    }
    run(&mut admin, &format!("DROP DATABASE [{name}]")).await.map(drop)
}

/// A connection of the driver.
pub type MssqlConnection = Client<Compat<TcpStream>>;

async fn connect(url: &str) -> Result<MssqlConnection, Error> {
    let mut config = Place::of(url).config();
    // A statement that fills a table with a million rows takes minutes.
    config.command_timeout(Some(Duration::from_secs(1800)));
    let stream = TcpStream::connect(config.get_addr()).await?;
    stream.set_nodelay(true)?;
    Client::connect(config, stream.compat_write()).await
}

async fn run(connection: &mut MssqlConnection, batch: &str) -> Result<Vec<Row>, Error> {
    Ok(connection.simple_query(batch).await?.into_results().await?.into_iter().flatten().collect())
}

fn shown(cell: ColumnData<'static>) -> String {
    match cell {
        ColumnData::Binary(Some(bytes)) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ColumnData::String(Some(text)) => text.into_owned(),
        other => format!("{other:?}"),
    }
}

/// What a URL says. Whatever has a meaning in a URL is percent-encoded in it.
struct Place {
    user: String,
    password: String,
    /// Host and port as they stand in the URL.
    authority: String,
    host: String,
    port: u16,
    database: String,
    parameters: Vec<(String, String)>,
}

impl Place {
    const FORM: &str = "the URL of an SQL Server is `mssql://USER:PASSWORD@HOST:PORT/DATABASE`";

    fn of(url: &str) -> Self {
        let (_, rest) = url.split_once("://").expect(Self::FORM);
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (rest, database) = rest.split_once('/').unwrap_or((rest, "master"));
        let (login, authority) = rest.rsplit_once('@').expect(Self::FORM);
        let (user, password) = login.split_once(':').expect(Self::FORM);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().expect(Self::FORM)),
            _ => (authority, 1433),
        };
        let parameters = parameters.split('&').filter_map(|pair| pair.split_once('='));
        Self {
            user: decoded(user),
            password: decoded(password),
            authority: authority.to_owned(),
            host: host.to_owned(),
            port,
            database: decoded(database),
            parameters: parameters.map(|(name, value)| (name.to_owned(), decoded(value))).collect(),
        }
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        config.host(self.host.trim_matches(['[', ']']));
        config.port(self.port);
        config.database(&self.database);
        config.authentication(AuthMethod::sql_server(&self.user, &self.password));
        for (name, value) in &self.parameters {
            match (name.as_str(), value.as_str()) {
                ("trustServerCertificate", "true") => config.trust_cert(),
                ("trustServerCertificate", "false") => {}
                ("trustServerCertificateCA", file) => config.trust_cert_ca(file),
                ("hostNameInCertificate", host) => config.hostname_in_certificate(host),
                _ => panic!("tests can't use `{name}` in the URL of an SQL Server"),
            }
        }
        config
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            let (code, after) = after.split_at(2);
            bytes.push(u8::from_str_radix(std::str::from_utf8(code).unwrap(), 16).unwrap());
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let place = Place::of("mssql://s%40a:p%3A%2F%C3%BC@h:1444/d%20b?trustServerCertificate=true");
        assert_eq!((place.user.as_str(), place.password.as_str()), ("s@a", "p:/ü"));
        assert_eq!((place.host.as_str(), place.port, place.database.as_str()), ("h", 1444, "d b"));
        assert_eq!(place.parameters, [("trustServerCertificate".to_owned(), "true".to_owned())]);
        for (url, host, port) in [
            ("mssql://a:b@h", "h", 1433),
            ("mssql://a:b@[::1]:1/x", "[::1]", 1),
            ("mssql://a:b@[::1]", "[::1]", 1433),
        ] {
            let place = Place::of(url);
            assert_eq!((place.host.as_str(), place.port), (host, port), "{url}");
        }
    }

    #[test]
    fn a_url_leads_by_way_of_a_relay() {
        let database = MssqlDatabase {
            server: "mssql://a:h:1@h:1/master?trustServerCertificate=true".to_owned(),
            name: "db".to_owned(),
        };
        let relay = ([127, 0, 0, 1], 7).into();
        let url = database.url_by_way_of(relay);
        assert_eq!(url, "mssql://a:h:1@127.0.0.1:7/db?trustServerCertificate=true");
        assert_eq!(database.address(), "h:1");
        // There is nothing to drop.
        std::mem::forget(database);
    }
}
