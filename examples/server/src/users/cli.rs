//! What `messenger-server users` is asked for.

use clap::{Arg, ArgAction, ArgMatches, Command};

pub(crate) const NAME: &str = "users";

/// What to do.
#[derive(Debug)]
pub(crate) enum UsersCommand {
    /// Erase an account; without `sure` only say whose it is.
    Erase { name: String, sure: bool },
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
                .arg(
                    Arg::new("name")
                        .value_name("USER")
                        .required(true)
                        .help("The username, the mail address or the id; of an erased account the id"),
                )
                .arg(
                    Arg::new("yes")
                        .long("yes")
                        .action(ArgAction::SetTrue)
                        .help("Do it; without this it is only said whose account it is"),
                ),
        )
}

pub(crate) fn command_of(matches: &ArgMatches) -> Option<UsersCommand> {
    let (name, matches) = matches.subcommand()?;
    match name {
        "erase" => Some(UsersCommand::Erase {
            name: matches.get_one::<String>("name")?.clone(),
            sure: matches.get_flag("yes"),
        }),
        _ => None,
    }
}
