use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::ServerCpu;

/// A PostgreSQL server of one's own, in a temporary folder: to be crashed, or to be measured. Ends with this.
#[derive(Debug)]
pub struct PrivateServer {
    folder: TempDir,
    url: String,
}

impl PrivateServer {
    /// Starts one with these settings, each `NAME=VALUE`; else with PostgreSQL's own.
    pub fn start(settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("messenger-postgres-").tempdir().unwrap();
        let url = run("start", folder.path(), settings);
        Self { folder, url }
    }

    /// Its URL, of a user that may do everything.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends it as a crash does, and starts it again at the same place.
    pub fn crash_and_restart(&self) {
        run("restart", self.folder.path(), &[]);
    }

    /// Ends it as a crash does.
    pub fn crash(&self) {
        run("kill", self.folder.path(), &[]);
    }

    /// Starts it again after a crash.
    pub fn start_again(&self) {
        run("start", self.folder.path(), &[]);
    }

    /// Lets all its processes stand still, as when its machine is gone from the network.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let processes = self.cpu().processes();
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .args(processes.iter().map(u32::to_string))
            .status();
        assert!(sent.unwrap().success());
    }

    /// What its processes have used of the CPU so far, where the system tells.
    pub fn cpu(&self) -> ServerCpu {
        ServerCpu::of(run("pid", self.folder.path(), &[]).parse().unwrap())
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        // Also after a test that has failed while it was frozen.
        self.signal("CONT");
        run("stop", self.folder.path(), &[]);
    }
}

fn run(command: &str, folder: &Path, arguments: &[&str]) -> String {
    let script = script();
    let output = Command::new(&script).arg(command).arg(folder).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {command}: {said}", script.display());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// `scripts/postgres` of this checkout. Cargo tells the folder of the package to what it runs; the one that was known
/// when this was built may be that of another checkout with the same target directory.
pub fn script() -> PathBuf {
    let folder = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| env::current_dir().unwrap());
    let scripts = folder.ancestors().map(|folder| folder.join("scripts/postgres"));
    scripts.into_iter().find(|script| script.exists()).expect("scripts/postgres is in a folder above")
}
