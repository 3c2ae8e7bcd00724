//! A PostgreSQL server on this machine, and databases on it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, postgres::PgConnectOptions};

use super::{
    Result,
    process::{KEEPER, apart_from_the_terminal},
};
use crate::{ServerCpu, with_database};

/// A server, with a [keeper](super::keeper) that clears up after this.
#[derive(Debug)]
pub struct Server {
    keeper: Child,
    url: String,
    /// The first of its processes, whose children the others are.
    postmaster: u32,
    /// What the names of all databases of this bench begin with.
    prefix: String,
}

impl Server {
    /// A new one, with PostgreSQL's own settings, or the one of a URL. This program becomes the keeper when it is started with
    /// [`KEEPER`]; `bench` is in the names of the databases.
    ///
    /// # Errors
    /// If there is none.
    pub fn start(bench: &str, url: Option<&str>) -> Result<Self> {
        let prefix = format!("messenger_{bench}_{}_", std::process::id());
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(KEEPER).arg(&prefix).args(url).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = apart_from_the_terminal(&mut command).spawn()?;
        let says = keeper.stdout.take().ok_or("the keeper has no standard output")?;
        let mut server = Self { keeper, url: String::new(), postmaster: 0, prefix };
        let mut lines = BufReader::new(says).lines();
        let mut line =
            || -> Result<String> { Ok(lines.next().ok_or("there is no PostgreSQL server to measure on")??) };
        server.url = line()?;
        server.postmaster = line()?.parse()?;
        Ok(server)
    }

    /// The URL of a database of this bench.
    pub fn url(&self, name: &str) -> String {
        with_database(&self.url, &self.database(name))
    }

    /// All processes of the server.
    pub fn cpu(&self) -> ServerCpu {
        ServerCpu::of(self.postmaster)
    }

    /// Makes an empty database.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn create(&self, name: &str) -> Result {
        execute(&mut connect(&self.url).await?, format!("CREATE DATABASE {}", self.database(name))).await
    }

    /// A copy of a database that nobody is connected to, on disks that have nothing else left to write.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn copy(&self, template: &str, name: &str) -> Result {
        self.drop(name).await?;
        let (template, name) = (self.database(template), self.database(name));
        let mut conn = connect(&self.url).await?;
        execute(&mut conn, format!("CREATE DATABASE {name} TEMPLATE {template}")).await?;
        execute(&mut conn, "CHECKPOINT".to_owned()).await?;
        settle().await
    }

    /// Removes a database, if it is there, and whoever is still connected to it.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn drop(&self, name: &str) -> Result {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.database(name));
        execute(&mut connect(&self.url).await?, drop).await
    }

    /// Does what the server would soon do by itself, in the middle of a measurement.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn tidy(&self, name: &str) -> Result {
        execute(&mut connect(&self.url(name)).await?, "VACUUM ANALYZE".to_owned()).await
    }

    /// Its version and the settings that decide what a commit costs.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn describe(&self) -> Result<String> {
        let query = "SELECT 'PostgreSQL ' || current_setting('server_version') || string_agg(', ' || name || ' '
                || current_setting(name), '' ORDER BY name)
            FROM pg_settings
            WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_sync_method', 'shared_buffers')";
        Ok(sqlx::query_scalar(query).fetch_one(&mut connect(&self.url).await?).await?)
    }

    /// Rows that were read one after the other, and entries of indexes, in a database since it was made.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn rows_read(&self, name: &str) -> Result<f64> {
        let query = "SELECT (SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables)::float8
            + (SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes)::float8";
        Ok(sqlx::query_scalar(query).fetch_one(&mut connect(&self.url(name)).await?).await?)
    }

    fn database(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Closes its standard input, which is what it waits for.
        let _ = self.keeper.wait();
    }
}

/// A connection that logs no statements.
///
/// # Errors
/// If the server refuses.
pub async fn connect(url: &str) -> Result<PgConnection> {
    Ok(url.parse::<PgConnectOptions>()?.disable_statement_logging().connect().await?)
}

/// Runs a statement without parameters.
///
/// # Errors
/// If the server refuses.
pub async fn execute(conn: &mut PgConnection, statement: String) -> Result {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(conn).await?;
    Ok(())
}

/// What may wait to be written to disks that count as settled, in KiB.
const SETTLED: u64 = 16 * 1024;

/// Waits until what was written has reached the disks: a commit takes longer as long as it has not.
async fn settle() -> Result {
    for _ in 0..20 {
        if !Command::new("sync").status()?.success() {
            return Err("`sync` has failed".into());
        }
        if unwritten()? <= SETTLED {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    eprintln!("somebody else keeps on writing to the disks of this machine, so a commit takes longer");
    Ok(())
}

/// KiB that are only in memory so far.
fn unwritten() -> Result<u64> {
    let mut sum = 0;
    for line in fs::read_to_string("/proc/meminfo")?.lines() {
        let Some((name, amount)) = line.split_once(':') else { continue };
        if matches!(name, "Dirty" | "Writeback") {
            sum += amount.trim().trim_end_matches(" kB").parse::<u64>()?;
        }
    }
    Ok(sum)
}
