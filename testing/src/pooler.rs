use std::{
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};
use tempfile::TempDir;

use crate::with_database;

/// PgBouncer in front of a database, with `pool_mode = transaction`; ends with this.
#[derive(Debug)]
pub struct Pooler {
    process: Child,
    url: String,
    _folder: TempDir,
}

impl Pooler {
    /// Longer than it takes to start on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Starts one that has half as many connections to the server as clients are likely to have to it.
    ///
    /// # Panics
    /// If there is no PgBouncer.
    pub async fn start(database: &str) -> Self {
        let target: PgConnectOptions = database.parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (name, user) = (target.get_database().unwrap(), target.get_username());
        // Whoever starts this as root has to say as whom it is to run.
        let run_as =
            if fs::metadata("/proc/self").is_ok_and(|own| is_root(&own)) { "user = nobody" } else { "" };
        let settings = format!(
            "[databases]
{name} = host={} port={} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
server_tls_sslmode = prefer
ignore_startup_parameters = extra_float_digits
{run_as}
",
            target.get_host(),
            target.get_port()
        );
        let file = folder.path().join("pgbouncer.ini");
        fs::write(&file, settings).unwrap();
        open_to_all(folder.path());
        let process = Command::new(binary()).arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process =
            process.expect("PgBouncer starts: scripts/test installs it (Debian's package is pgbouncer)");
        let server = format!("postgres://{user}@127.0.0.1:{port}/{name}");
        let pooler = Self { process, url: with_database(&server, name), _folder: folder };
        pooler.is_up().await;
        pooler
    }

    async fn is_up(&self) {
        let options: PgConnectOptions = self.url.parse().unwrap();
        let options = options.extra_float_digits(None).disable_statement_logging();
        let until = Instant::now() + Self::PATIENCE;
        while options.connect().await.is_err() {
            assert!(Instant::now() < until, "PgBouncer answers in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The URL of the database through it.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn binary() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    // Where Debian has it, which is not on the path of everybody.
    let folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join("pgbouncer")).find(|file| file.exists());
    found.expect("this test needs PgBouncer: scripts/test installs it (Debian's package is pgbouncer)")
}

#[cfg(unix)]
fn is_root(own: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(own) == 0
}

#[cfg(unix)]
fn open_to_all(folder: &std::path::Path) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder, mode).unwrap();
}
