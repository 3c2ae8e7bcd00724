//! What the command line asks for.

use std::{env, ffi::OsString, fmt::Write as _, path::PathBuf};

use clap::{
    Arg, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
    value_parser,
};

use crate::{
    config::{Config, ConfigError, SETTINGS, Setting, Sources, Value, masked, text_of_variable, variable},
    error::ServerError,
    jobs::{JobsCommand, cli as jobs_cli},
    keys::{KeysCommand, cli as keys_cli},
    retention::{RetentionCommand, cli as retention_cli},
    role::Role,
    users::{UsersCommand, cli as users_cli},
};

/// What to do.
#[derive(Debug)]
pub(crate) enum Task {
    Serve(Config, Role),
    Jobs(Config, JobsCommand),
    Keys(Config, KeysCommand),
    Users(Config, UsersCommand),
    Retention(Config, RetentionCommand),
    Migrate(Config),
    PrintMigrations(Config),
    CheckConfig(Vec<Value>, Config),
    /// Print this text, which is help or the version.
    Print(String),
}

/// Reads the command line, the variables and the file.
pub(crate) fn task(arguments: impl Iterator<Item = OsString>) -> Result<Task, ServerError> {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return shown_or_refused(&error),
    };
    let values = gather(&matches)?;
    let config = Config::of(&values)?;
    Ok(match matches.subcommand() {
        Some(("migrate", migrate)) if migrate.get_flag("print") => Task::PrintMigrations(config),
        Some(("migrate", _)) => Task::Migrate(config),
        Some(("check-config", _)) => Task::CheckConfig(values, config),
        Some((jobs_cli::NAME, jobs)) => Task::Jobs(config, jobs_cli::command_of(jobs)),
        Some((keys_cli::NAME, keys)) => Task::Keys(config, keys_cli::command_of(keys)),
        Some((users_cli::NAME, users)) => match users_cli::command_of(users) {
            Some(command) => Task::Users(config, command),
            None => Task::Print(String::new()),
        },
        Some((retention_cli::NAME, retention)) => match retention_cli::command_of(retention) {
            Some(command) => Task::Retention(config, command),
            None => Task::Print(String::new()),
        },
        Some(("work", _)) => Task::Serve(config, Role::Work),
        _ => Task::Serve(config, Role::Serve),
    })
}

fn command() -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help(format!("Read settings from this TOML file [default: none] [env: {}]", variable(CONFIG)));
    Command::new("messenger-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A complete chat server: REST and WebSocket API, web page, data in a file, PostgreSQL or SQL Server")
        .after_help(AFTER_HELP)
        .subcommand(Command::new("serve").about("Run the server (what happens without a command, too)"))
        .subcommand(Command::new("work").about(
            "Do background jobs for the servers on the same database, whatever `workers` says: without the page and \
             the API, and with /health and /metrics at --listen",
        ))
        .subcommand(jobs_cli::command())
        .subcommand(keys_cli::command())
        .subcommand(users_cli::command())
        .subcommand(retention_cli::command())
        .subcommand(
            Command::new("migrate").about("Bring the tables of the store up to date, and end").arg(
                Arg::new("print")
                    .long("print")
                    .action(clap::ArgAction::SetTrue)
                    .help("Print the SQL for the store that --store-url names instead, and touch nothing"),
            ),
        )
        .subcommand(
            Command::new("check-config").about("Print the settings in force and where each was set, and end"),
        )
        .next_help_heading("Settings")
        .arg(config)
        .args(SETTINGS.iter().map(flag))
}

const CONFIG: &str = "config";

const AFTER_HELP: &str = "\
Each setting can be given as a key in the file, as a variable and as a flag; a flag counts more than a \
variable, and a variable more than the file. An empty variable counts as not set.";

fn flag(setting: &'static Setting) -> Arg {
    let Setting { name, value, default, help } = setting;
    Arg::new(*name)
        .long(*name)
        .value_name(*value)
        .global(true)
        .help(format!("{help} [default: {default}] [env: {}]", setting.variable()))
}

fn gather(matches: &ArgMatches) -> Result<Vec<Value>, ConfigError> {
    let lookup = |name: &str| env::var_os(name);
    let from_variable = text_of_variable(&lookup, CONFIG)?.map(PathBuf::from);
    let file = matches.get_one::<PathBuf>(CONFIG).or(from_variable.as_ref());
    Sources {
        file: file.map(PathBuf::as_path),
        variable: &lookup,
        flag: &|name| matches.get_one::<String>(name).cloned(),
    }
    .gather()
}

/// Help and version are no errors; of an error, one sentence.
fn shown_or_refused(error: &clap::Error) -> Result<Task, ServerError> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    let mut sentence = match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => return Ok(Task::Print(error.to_string())),
        ErrorKind::UnknownArgument => {
            format!("There is no flag `{}`", context(ContextKind::InvalidArg).unwrap_or_default())
        }
        ErrorKind::InvalidSubcommand => {
            let command = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            // It may be the value of a flag that was forgotten.
            format!("There is no command `{}`", masked(command))
        }
        ErrorKind::MissingRequiredArgument => {
            format!("`{}` is missing", context(ContextKind::InvalidArg).unwrap_or_default())
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            format!("The command line can't be read: {}", first.trim_start_matches("error: "))
        }
    };
    let near = context(ContextKind::SuggestedArg).or_else(|| context(ContextKind::SuggestedSubcommand));
    let _ = match near {
        Some(near) => write!(sentence, "; did you mean `{near}`?"),
        None => write!(sentence, "; `messenger-server --help` lists all."),
    };
    Err(ServerError::Usage(sentence))
}
