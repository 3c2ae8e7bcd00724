//! What `messenger-server keys` is asked for.

use clap::{Arg, ArgAction, ArgMatches, Command};

pub(crate) const NAME: &str = "keys";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeysCommand {
    Generate,
    Status,
    Rotate,
    SealExisting(Vacuum),
}

/// What becomes of what a database keeps of former rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vacuum {
    Nothing,
    /// What can be done while servers run.
    Usual,
    /// All of it.
    Full,
}

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("See and change the keys that the data is encrypted with, also while servers run")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("generate").about(
            "Make a new key-encryption key: as the first line of the file with the keys, if there is one, else on \
             standard output",
        ))
        .subcommand(Command::new("status").about("Which keys there are, and how many data keys each has wrapped"))
        .subcommand(Command::new("rotate").about(
            "Wrap all data keys with the first key-encryption key, so that the others are needed no more; messages \
             are not written anew. What was interrupted goes on when it is called again",
        ))
        .subcommand(seal_existing())
}

pub(crate) fn command_of(matches: &ArgMatches) -> KeysCommand {
    match matches.subcommand_name() {
        Some("generate") => KeysCommand::Generate,
        Some("rotate") => KeysCommand::Rotate,
        Some("seal-existing") => KeysCommand::SealExisting(vacuum_of(matches)),
        _ => KeysCommand::Status,
    }
}

fn seal_existing() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("seal-existing")
        .about(
            "Encrypt what was stored before the data was encrypted, while servers run, all of which have the keys; then \
             vacuum. What was interrupted goes on when it is called again",
        )
        .arg(flag(NO_VACUUM).conflicts_with(FULL).help(
            "Leave out the vacuum in the end, during which nobody can write to a file of SQLite; another call finds \
             nothing to encrypt, and vacuums",
        ))
        .arg(flag(FULL).help(
            "On PostgreSQL, rewrite the tables in the end (VACUUM FULL), so that nothing of former rows stays in their \
             files; nobody can use a table while that goes on",
        ))
}

const NO_VACUUM: &str = "no-vacuum";
const FULL: &str = "full";

fn vacuum_of(matches: &ArgMatches) -> Vacuum {
    let is_set = |name| matches.subcommand().is_some_and(|(_, matches)| matches.get_flag(name));
    if is_set(NO_VACUUM) {
        Vacuum::Nothing
    } else if is_set(FULL) {
        Vacuum::Full
    } else {
        Vacuum::Usual
    }
}
