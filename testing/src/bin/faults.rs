//! Runs seeds of the fault test, and prints a table. `--help` says more.

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    unix::main()
}

#[cfg(not(unix))]
fn main() {
    eprintln!("the fault test stops processes with signals, which this system does not have");
}

#[cfg(unix)]
mod unix {
    use std::{env, path::PathBuf, process::ExitCode, time::Duration};

    use messenger_testing::{
        PrivateServer,
        faults::{BusKind, Options, Outcome, run},
    };

    const HELP: &str = "\
Usage: faults [OPTION]...

Starts nodes of messenger-server on one PostgreSQL and one Redis, lets clients talk over them while nodes are killed, and
while Redis is restarted, emptied, frozen, cut off and slow, and compares what every client was told with what is stored.
Prints a row of a table for each seed. A seed decides what goes wrong and what clients do, not how long it takes.

  --seeds A..B    the seeds from A to B, or one (default: 1..5)
  --seconds N     for how long things go wrong (default: 60); a run takes up to three minutes more
  --bus BUS       redis or postgres: how nodes hear of each other (default: redis)
  --nodes N       how many nodes (default: 3)
  --server PATH   the binary messenger-server (default: the one beside this program)

PostgreSQL is that of MESSENGER_TEST_POSTGRES_URL, or one that is started for this. The exit code is 0 only if nothing is
wrong; what is, is said below the table, and where the logs and diaries are.";

    struct Arguments {
        seeds: std::ops::RangeInclusive<u64>,
        seconds: u64,
        bus: BusKind,
        nodes: usize,
        server: PathBuf,
    }

    pub(crate) fn main() -> ExitCode {
        let arguments: Vec<String> = env::args().skip(1).collect();
        if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        match read(&arguments) {
            Ok(arguments) => run_all(&arguments),
            Err(what) => {
                eprintln!("faults: {what}; see --help");
                ExitCode::from(2)
            }
        }
    }

    fn read(arguments: &[String]) -> Result<Arguments, String> {
        let beside = env::current_exe().ok().and_then(|own| Some(own.parent()?.join("messenger-server")));
        let mut read = Arguments {
            seeds: 1..=5,
            seconds: 60,
            bus: BusKind::Redis,
            nodes: 3,
            server: beside.unwrap_or_default(),
        };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
            let number = || value.parse::<u64>().ok().filter(|number| *number > 0);
            let wants = || format!("{name} wants a number in place of `{value}`");
            match name.as_str() {
                "--seeds" => read.seeds = seeds(value).ok_or_else(|| format!("`{value}` names no seeds"))?,
                "--seconds" => read.seconds = number().ok_or_else(wants)?,
                "--bus" => read.bus = value.parse()?,
                "--nodes" => read.nodes = number().ok_or_else(wants)? as usize,
                "--server" => read.server = value.into(),
                _ => return Err(format!("there is no {name}")),
            }
        }
        if !read.server.exists() {
            return Err(format!("{} is not there: cargo build -p messenger-server", read.server.display()));
        }
        Ok(read)
    }

    fn seeds(text: &str) -> Option<std::ops::RangeInclusive<u64>> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let seeds = from.parse().ok()?..=to.trim_start_matches('=').parse().ok()?;
        (!seeds.is_empty()).then_some(seeds)
    }

    fn run_all(arguments: &Arguments) -> ExitCode {
        let (mut server, url) = (None, env::var("MESSENGER_TEST_POSTGRES_URL").ok());
        let url = url.unwrap_or_else(|| {
            let started = server.insert(PrivateServer::start(&["fsync=off", "max_connections=400"]));
            started.url().to_owned()
        });
        let options = Options {
            server: arguments.server.clone(),
            database_server: url,
            length: Duration::from_secs(arguments.seconds),
            bus: arguments.bus,
            nodes: arguments.nodes,
        };
        let runtime = match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("faults: the system gives no threads: {error}");
                return ExitCode::FAILURE;
            }
        };
        let all_is_well = runtime.block_on(async {
            tokio::select! {
                all_is_well = run_each(arguments.seeds.clone(), &options) => all_is_well,
                // What was started ends with this.
                _ = tokio::signal::ctrl_c() => false,
            }
        });
        if all_is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    async fn run_each(seeds: std::ops::RangeInclusive<u64>, options: &Options) -> bool {
        println!("{}", Outcome::head());
        let mut findings = Vec::new();
        for seed in seeds {
            let outcome = run(seed, options).await;
            println!("{outcome}");
            eprintln!("seed {seed}: the longest delay was of {}; {} hung", outcome.longest, outcome.hung);
            findings.extend(outcome.findings.iter().map(|finding| format!("seed {seed}: {finding}")));
        }
        for finding in findings.iter().take(100) {
            println!("{finding}");
        }
        findings.is_empty()
    }
}
