//! A complete chat server: the API, a web page, and the data in a file, PostgreSQL or SQL Server. See
//! `messenger-server --help`.

mod cli;
mod config;
mod error;
mod jobs;
mod keys;
mod mail;
mod metrics;
mod ops;
mod page;
mod parts;
mod report;
mod retention;
mod role;
mod serve;
mod store;
mod telemetry;
mod users;

use std::{env, process::ExitCode, time::Duration};

use cli::Task;
use error::{Sentence, ServerError};

/// What a burst took goes back to the system within seconds, also when nothing more is asked for.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    telemetry::say_where_threads_panic();
    // The client of Redis asks for it where the connection is encrypted; somebody else's would do as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match cli::task(env::args_os()).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("messenger-server: {}", Sentence(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), ServerError> {
    report::warn_of_unknown_variables();
    match task {
        Task::Print(text) => report::print(&text),
        Task::CheckConfig(values, config) => report::print(&report::checked(&values, &config)),
        Task::Serve(config, role) => block_on(serve::serve(&config, role)),
        Task::Jobs(config, command) => report::print(&block_on(jobs::run(&config, &command))?),
        Task::Keys(config, command) => report::print(&block_on(keys::run(&config, command))?),
        Task::Users(config, command) => report::print(&block_on(users::run(&config, &command))?),
        Task::Retention(config, command) => report::print(&block_on(retention::run(&config, &command))?),
        Task::Migrate(config) => report::print(&block_on(store::migrate(&config.store))?),
        Task::PrintMigrations(config) => report::print(&store::migrations(&config.store)?),
    }
}

fn block_on<T>(work: impl Future<Output = Result<T, ServerError>>) -> Result<T, ServerError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServerError::start)?;
    let result = runtime.block_on(work);
    // Dropping the runtime would wait for blocking work without end, also after a second signal.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}
