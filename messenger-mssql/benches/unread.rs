//! What a worker's pass over chats takes in which something is unread, among very many.
//!
//! `cargo bench -p messenger-mssql --bench unread -- --help`

use std::{env, process::ExitCode, time::Duration};

use messenger_core::ports::Store as _;
use messenger_mssql::MssqlStore;
use messenger_testing::{
    MssqlDatabase, ServerCpu,
    bench::{Options, Result, Spelling, Unread},
};

const HELP: &str = "\
What a worker's pass takes that claims all chats in which something is unread, 100 at a time, asks for the members of each
who have not read it, and for all that each of these people has not read, and records that they were told, with the job that
does it. One call after the other. Then a group of 1,000 is looked at in which nobody has read any of 1,000 messages. The
server is the one that MESSENGER_TEST_MSSQL_URL names, with a database of its own there, which is dropped at the end.

Usage: cargo bench -p messenger-mssql --bench unread -- [OPTION]...

  --memberships N   ten in each chat (default: 1,000,000)
  --due N           chats of which one member has not read all (default: 10,000)
  --server PID      the first process of the server, where it runs on this machine, whose CPU is measured
  --help            this";

fn main() -> Result<ExitCode> {
    let numbers = ["--memberships", "--due", "--server"];
    let Some(options) = Options::read(HELP, &[], &numbers)? else { return Ok(ExitCode::SUCCESS) };
    if env::var_os("MESSENGER_TEST_MSSQL_URL").is_none() {
        eprintln!(
            "This needs an SQL Server: set MESSENGER_TEST_MSSQL_URL to \
             `mssql://USER:PASSWORD@HOST:PORT/master?trustServerCertificate=true`, with a user that may make databases."
        );
        return Ok(ExitCode::from(2));
    }
    tokio::runtime::Runtime::new()?.block_on(measure(&options))?;
    Ok(ExitCode::SUCCESS)
}

const MSSQL: Spelling = Spelling {
    schema: "messenger.",
    id: |number| {
        let six_bytes =
            |number: &str| format!("SUBSTRING(CAST(CAST({number} AS bigint) AS binary(8)), 3, 6)");
        let time = six_bytes(&format!("1735689600000 + {number}"));
        format!("CAST({time} + 0x70008000 + {} AS binary(16))", six_bytes(number))
    },
    series: |last, name| {
        format!(
            "(
    SELECT TOP ({last}) CAST(low.n AS bigint) + 65536 * (high.n - 1) AS n
    FROM messenger.messenger_numbers AS high CROSS JOIN messenger.messenger_numbers AS low
    WHERE high.n <= 16 AND low.n <= {last} ORDER BY high.n, low.n
) AS {name}"
        )
    },
    bytes: |text| {
        let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
        format!("0x{hex}")
    },
    of_chat: ["", ""],
    of_message: [", is_changed", ", 0"],
};

async fn measure(options: &Options) -> Result {
    let unread = Unread::of(options);
    let database = MssqlDatabase::create().await;
    // The first claim of a pass looks at all that is due.
    let store = MssqlStore::builder(&database.url()).timeout(Duration::from_secs(600)).open().await?;
    for statement in unread.fill(&MSSQL) {
        database.execute(&statement).await;
    }
    let server = options.number("--server").map(u32::try_from).transpose()?;
    unread.measure(&store, server.map(ServerCpu::of)).await?;
    store.close().await;
    Ok(())
}
