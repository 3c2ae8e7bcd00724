//! A process that lets the bench have a PostgreSQL server, and takes away what was made on it when the bench ends,
//! however that ends.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::{
    Result,
    postgres::{connect, execute},
};
use crate::script as postgres_script;

/// On the server of a URL, or a new one. Says its URL and its first process on standard output, and waits until
/// standard input ends. A new one lies in `place`, or else in the folder `TMPDIR`.
///
/// # Errors
/// If there is no server.
pub async fn keep(prefix: &str, url: Option<String>, place: &Path) -> Result {
    match url {
        Some(url) => {
            let postmaster = postmaster(&url).await?;
            serve(&url, &postmaster);
            drop_databases(&url, prefix).await
        }
        None => {
            let place = env::var_os("TMPDIR").map_or(place.to_owned(), PathBuf::from);
            let folder = TempDir::new_in(place)?;
            let started =
                script("start", folder.path()).and_then(|url| Ok((url, script("pid", folder.path())?)));
            if let Ok((url, postmaster)) = &started {
                serve(url, postmaster);
            }
            // Also one that has come up only in part.
            script("stop", folder.path())?;
            started.map(|_| ())
        }
    }
}

/// That the bench is gone already is no reason to fail, but to go on and clear up.
fn serve(url: &str, postmaster: &str) {
    let said = writeln!(io::stdout(), "{url}\n{postmaster}");
    let _ = said.and_then(|()| io::copy(&mut io::stdin(), &mut io::sink()));
}

fn script(command: &str, folder: &Path) -> Result<String> {
    let said = Command::new(postgres_script())
        .arg(command)
        .arg(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !said.status.success() {
        return Err(format!("scripts/postgres {command} has failed").into());
    }
    Ok(String::from_utf8(said.stdout)?.trim().to_owned())
}

/// The parent of the process that answers.
async fn postmaster(url: &str) -> Result<String> {
    let mut conn = connect(url).await?;
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut conn).await?;
    let stat = fs::read_to_string(format!("/proc/{backend}/stat")).unwrap_or_default();
    // The name of the program is in parentheses and may have blanks in it.
    let parent = stat.rsplit_once(')').filter(|(name, _)| name.ends_with("(postgres"));
    let parent = parent.and_then(|(_, rest)| rest.split_whitespace().nth(1));
    Ok(parent
        .ok_or("the PostgreSQL server of this URL is no process of this machine, so its CPU is not known")?
        .to_owned())
}

async fn drop_databases(url: &str, prefix: &str) -> Result {
    let mut conn = connect(url).await?;
    let query = sqlx::query_scalar("SELECT datname FROM pg_database WHERE starts_with(datname, $1)");
    let names: Vec<String> = query.bind(prefix).fetch_all(&mut conn).await?;
    for name in names {
        execute(&mut conn, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
    }
    Ok(())
}
