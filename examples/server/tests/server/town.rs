//! A server on a file, and commands beside it.

use std::process::Output;

use crate::support::{Server, binary, sqlite_url};

pub(crate) struct Town {
    _folder: tempfile::TempDir,
    /// What the server and the commands are told.
    settings: Vec<String>,
    pub(crate) server: Server,
}

impl Town {
    /// With these settings, beside that of the file.
    pub(crate) fn new(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = sqlite_url(&folder.path().join("chat.db"));
        let file = ["--store-url", &url];
        let settings: Vec<_> = file.iter().chain(settings).map(ToString::to_string).collect();
        let server = Server::start(binary().args(&settings));
        Self { _folder: folder, settings, server }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        binary().args(arguments).args(&self.settings).output().unwrap()
    }

    /// What a command says that succeeds.
    pub(crate) fn said(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}
