//! Does what `messenger-server keys` is asked for.

use std::fmt::Write as _;

use messenger_core::{
    context::Context,
    encryption::{KeyCounts, KeyRing, KeyService, count_keys, rotate_keys},
};

use super::{KeysCommand, file, has_keys, progress::Progress, seal_existing::seal_existing, service};
use crate::{
    config::{Config, EncryptionConfig, EncryptionKeys},
    error::ServerError,
    store,
};

/// Answers what is to be printed.
pub(crate) async fn run(config: &Config, command: KeysCommand) -> Result<String, ServerError> {
    let encryption = &config.encryption;
    if command == KeysCommand::Generate {
        return generate(encryption);
    }
    let store = store::open_plain(&config.store).await?;
    let has_keys = has_keys(&*store).await?;
    if let KeysCommand::SealExisting(vacuum) = command {
        if !has_keys {
            store.close().await;
            return Err(ServerError::NotEncrypted(encryption.keys.to_string()));
        }
        return seal_existing(config, store, vacuum).await;
    }
    if !has_keys {
        store.close().await;
        return Ok(format!("The data is not encrypted; for it there would be {}.\n", encryption.keys));
    }
    let keys = service(encryption, false)?;
    let answer = match command {
        KeysCommand::Rotate => {
            let mut progress = Progress::begin("data keys wrapped");
            let rotated = rotate_keys(&*store, &*keys, |so_far| progress.at(so_far.seen)).await;
            progress.end();
            let rotated = rotated.map_err(|error| ServerError::Rotation(error.into()))?;
            let counts = count_keys(&*store, &*keys, |_| {}).await;
            let left = counts.map_err(|error| ServerError::Rotation(error.into()))?;
            let others: u64 =
                left.by_version.iter().filter(|(v, _)| **v != keys.current()).map(|(_, n)| n).sum();
            let next = match others {
                0 => "the other keys are needed no more".to_owned(),
                n => format!("{n} that were made meanwhile are not; call this again"),
            };
            format!(
                "{} of {} data keys were wrapped with version {}; {next}.\n",
                rotated.wrapped,
                rotated.seen,
                keys.current()
            )
        }
        KeysCommand::Status | KeysCommand::Generate | KeysCommand::SealExisting(_) => {
            let mut progress = Progress::begin("data keys counted");
            let counts = count_keys(&*store, &*keys, |so_far| progress.at(so_far)).await;
            progress.end();
            status(&*keys, &counts.map_err(|error| ServerError::Rotation(error.into()))?, encryption)
        }
    };
    store.close().await;
    Ok(answer)
}

fn status(keys: &dyn KeyService, counts: &KeyCounts, config: &EncryptionConfig) -> String {
    let mut text = format!("Data keys by the version of the key that wraps them ({}):\n", config.keys);
    for (version, count) in &counts.by_version {
        let current = if *version == keys.current() { "  wraps new ones" } else { "" };
        let _ = writeln!(text, "{version:>12}  {count:>12}{current}");
    }
    if !counts.by_version.contains_key(&keys.current()) {
        let _ = writeln!(text, "{:>12}  {:>12}  wraps new ones", keys.current(), 0);
    }
    if counts.unknown > 0 {
        let _ = writeln!(text, "{:>12}  {:>12}  can't be read", "unknown", counts.unknown);
    }
    let _ = writeln!(text, "{:>12}  {:>12}  of erased people", "destroyed", counts.destroyed);
    text
}

fn generate(config: &EncryptionConfig) -> Result<String, ServerError> {
    let Some(path) = config.file() else {
        let newest = match &config.keys {
            EncryptionKeys::Given(ring) => ring.versions().max().unwrap_or(0),
            _ => 0,
        };
        let line = KeyRing::generate_line(newest.saturating_add(1), &Context::system());
        return Ok(format!("{}\n", *line));
    };
    let refused = |error| ServerError::KeyFile(path.to_owned(), error);
    if !path.exists() {
        file::make(path).map_err(refused)?;
        return Ok(format!(
            "{} was made, with version 1; keep a copy of it apart from the data.\n",
            path.display()
        ));
    }
    let version = file::add(path).map_err(refused)?;
    Ok(format!(
        "Version {version} is the first line of {path}. Where servers have files of their own, give it to them all; then \
         `messenger-server keys rotate` wraps the data keys with it.\n",
        path = path.display()
    ))
}
