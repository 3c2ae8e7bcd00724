//! What `messenger-server keys` is asked for.

use clap::{ArgMatches, Command};

pub(crate) const NAME: &str = "keys";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeysCommand {
    Generate,
    Status,
    Rotate,
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
}

pub(crate) fn command_of(matches: &ArgMatches) -> KeysCommand {
    match matches.subcommand_name() {
        Some("generate") => KeysCommand::Generate,
        Some("rotate") => KeysCommand::Rotate,
        _ => KeysCommand::Status,
    }
}
