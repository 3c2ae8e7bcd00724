//! What `messenger-server retention` is asked for.

use clap::{Arg, ArgGroup, ArgMatches, Command};

pub(crate) const NAME: &str = "retention";

/// What to do.
#[derive(Debug)]
pub(crate) enum RetentionCommand {
    /// How long messages are kept, and what is overdue.
    Status,
    Hold {
        subject: Subject,
        reason: String,
    },
    Release {
        subject: Subject,
    },
    /// What is under a hold.
    List,
    /// What was purged, after a record, if one is named.
    Audit {
        after: Option<String>,
    },
}

/// What is put under a hold, as it was named.
#[derive(Debug)]
pub(crate) enum Subject {
    Chat(String),
    User(String),
}

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("See how long messages are kept and what was purged, and set legal holds, also while servers run")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("status").about(
            "How long messages are kept, what is overdue now, and how much is under a hold or was purged",
        ))
        .subcommand(
            of_subject(Command::new("hold").about(
                "Put a chat or a person under a legal hold: from the answer on no message of the chat, or none that the \
                 person has sent, is purged, and the account of the person is not erased. People can still edit and delete \
                 their messages themselves",
            ))
            .arg(
                Arg::new("reason")
                    .long("reason")
                    .value_name("TEXT")
                    .default_value("")
                    .help("Why, such as the number of a case: one line of at most 200 characters, which is not encrypted"),
            ),
        )
        .subcommand(of_subject(
            Command::new("release").about("End a hold; what is overdue is purged within minutes"),
        ))
        .subcommand(Command::new("list").about("What is under a hold, since when and why: a line for each"))
        .subcommand(
            Command::new("audit")
                .about(
                    "What was purged, the oldest first, a line for each step: the id of the record, when, the chat, the first \
                     and the last seq, how many messages, older than when, and whose period it was",
                )
                .arg(
                    Arg::new("after")
                        .long("after")
                        .value_name("ID")
                        .help("Only what was recorded after the record with this id [default: all]"),
                ),
        )
}

fn of_subject(command: Command) -> Command {
    command
        .arg(Arg::new("chat").long("chat").value_name("ID").help("The id of the chat"))
        .arg(
            Arg::new("user")
                .long("user")
                .value_name("USER")
                .help("The username, the mail address or the id of the person"),
        )
        .group(ArgGroup::new("subject").args(["chat", "user"]).required(true))
}

pub(crate) fn command_of(matches: &ArgMatches) -> Option<RetentionCommand> {
    let (name, matches) = matches.subcommand()?;
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let subject = || text("chat").map(Subject::Chat).or_else(|| text("user").map(Subject::User));
    Some(match name {
        "hold" => RetentionCommand::Hold { subject: subject()?, reason: text("reason")? },
        "release" => RetentionCommand::Release { subject: subject()? },
        "list" => RetentionCommand::List,
        "audit" => RetentionCommand::Audit { after: text("after") },
        _ => RetentionCommand::Status,
    })
}
