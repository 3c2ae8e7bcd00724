//! What `messenger-server jobs` is asked for.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use messenger_core::{
    JobId,
    ports::{JobFilter, JobKind, JobState},
};

use super::view::state_of;

pub(crate) const NAME: &str = "jobs";

/// What to do, and whether to answer in JSON.
#[derive(Debug)]
pub(crate) struct JobsCommand {
    pub(super) action: Action,
    pub(super) json: bool,
}

#[derive(Debug)]
pub(super) enum Action {
    Counts,
    List { filter: JobFilter, before: Option<JobId>, limit: usize },
    Show(JobId),
    Change(Change, JobId),
    Pause(JobKind),
    Resume(JobKind),
}

/// A change of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Retry,
    Cancel,
    Drop,
}

pub(crate) fn command() -> Command {
    let json = Arg::new(JSON)
        .long(JSON)
        .action(ArgAction::SetTrue)
        .global(true)
        .help("Answer in JSON, not in text for people");
    Command::new(NAME)
        .about("See and change background jobs, also while servers run")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(json)
        .subcommand(Command::new("counts").about("How many jobs of each kind there are"))
        .subcommand(list())
        .subcommand(one("show", "One job, without what it is about"))
        .subcommand(one("retry", "Let a job that has ended or waits be done now, with all its attempts"))
        .subcommand(one("cancel", "End a job that has not ended, and those that wait for it"))
        .subcommand(one("drop", "Remove a job that is not at work, and cancel those that wait for it"))
        .subcommand(of_kind("pause", "Let no server begin a job of this kind"))
        .subcommand(of_kind("resume", "End a pause"))
}

const JSON: &str = "json";

fn list() -> Command {
    Command::new("list")
        .about("Jobs, the newest first")
        .arg(Arg::new("kind").long("kind").value_name("KIND").value_parser(kind).help("Of this kind only"))
        .arg(
            Arg::new("state")
                .long("state")
                .value_name("STATE")
                .value_parser(state_of)
                .help("In this state only: waiting, blocked, running, done, dead or cancelled"),
        )
        .arg(
            Arg::new("before").long("before").value_name("ID").value_parser(id).help("Those before this one"),
        )
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("NUMBER")
                .default_value("50")
                .value_parser(value_parser!(u64).range(1..=100))
                .help("How many at most, 1 to 100"),
        )
}

fn one(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).arg(Arg::new("id").value_name("ID").required(true).value_parser(id))
}

fn of_kind(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).arg(Arg::new("kind").value_name("KIND").required(true).value_parser(kind))
}

fn id(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|_| "that is not the id of a job".to_owned())
}

fn kind(text: &str) -> Result<JobKind, String> {
    text.parse().map_err(|error: messenger_core::ports::InvalidJobKind| error.to_string())
}

/// What was asked for; nothing in particular asks for counts.
pub(crate) fn command_of(matches: &ArgMatches) -> JobsCommand {
    let action = matches.subcommand().and_then(|(name, matches)| action_of(name, matches));
    JobsCommand { action: action.unwrap_or(Action::Counts), json: matches.get_flag(JSON) }
}

fn action_of(name: &str, matches: &ArgMatches) -> Option<Action> {
    let id = || matches.get_one::<JobId>("id").copied();
    let kind = || matches.get_one::<JobKind>("kind").cloned();
    Some(match name {
        "list" => Action::List {
            filter: JobFilter { kind: kind(), state: matches.get_one::<JobState>("state").copied() },
            before: matches.get_one::<JobId>("before").copied(),
            limit: usize::try_from(*matches.get_one::<u64>("limit")?).ok()?,
        },
        "show" => Action::Show(id()?),
        "retry" => Action::Change(Change::Retry, id()?),
        "cancel" => Action::Change(Change::Cancel, id()?),
        "drop" => Action::Change(Change::Drop, id()?),
        "pause" => Action::Pause(kind()?),
        "resume" => Action::Resume(kind()?),
        _ => return None,
    })
}
