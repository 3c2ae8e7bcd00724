//! What `messenger-server users` is asked for.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

pub(crate) const NAME: &str = "users";

/// What to do.
#[derive(Debug)]
pub(crate) enum UsersCommand {
    /// Erase an account; without `sure` only say whose it is.
    Erase { name: String, sure: bool },
    /// Write everything that is held about a person to a file.
    Export { name: String, file: PathBuf },
}

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Look after accounts, also while servers run")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("erase")
                .about(
                    "Erase an account for good: names, address, password, sessions, memberships of groups and all \
                     messages. What was broken off goes on when it is asked for again, or by a background job",
                )
                .arg(user("The username, the mail address or the id; of an erased account the id"))
                .arg(
                    Arg::new("yes")
                        .long("yes")
                        .action(ArgAction::SetTrue)
                        .help("Do it; without this it is only said whose account it is"),
                ),
        )
        .subcommand(
            Command::new("export")
                .about(
                    "Write all that is held about a person to a zip of JSON Lines. What was broken off goes on when it is asked \
                     for again, from what lies in FILE.part",
                )
                .arg(user("The username, the mail address or the id"))
                .arg(
                    Arg::new("to")
                        .long("to")
                        .value_name("FILE")
                        .required(true)
                        .value_parser(value_parser!(PathBuf))
                        .help("Where; there must be no such file yet"),
                ),
        )
}

fn user(help: &'static str) -> Arg {
    Arg::new("name").value_name("USER").required(true).help(help)
}

pub(crate) fn command_of(matches: &ArgMatches) -> Option<UsersCommand> {
    let (name, matches) = matches.subcommand()?;
    match name {
        "erase" => Some(UsersCommand::Erase {
            name: matches.get_one::<String>("name")?.clone(),
            sure: matches.get_flag("yes"),
        }),
        "export" => Some(UsersCommand::Export {
            name: matches.get_one::<String>("name")?.clone(),
            file: matches.get_one::<PathBuf>("to")?.clone(),
        }),
        _ => None,
    }
}
