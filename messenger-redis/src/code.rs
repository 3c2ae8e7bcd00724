use std::sync::OnceLock;

use redis::{Cmd, Pipeline, Script};

/// A script, and the hash that identifies it on a server.
pub(crate) struct Code {
    text: &'static str,
    hash: OnceLock<String>,
}

impl Code {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self { text, hash: OnceLock::new() }
    }

    pub(crate) fn call(&self, keys: &[&str]) -> Cmd {
        let hash = self.hash.get_or_init(|| Script::new(self.text).get_hash().to_owned());
        let mut call = redis::cmd("EVALSHA");
        call.arg(hash).arg(keys.len()).arg(keys);
        call
    }

    /// The command that makes a server know it.
    pub(crate) fn load(&self) -> Pipeline {
        let mut load = Pipeline::new();
        load.cmd("SCRIPT").arg("LOAD").arg(self.text);
        load
    }
}
