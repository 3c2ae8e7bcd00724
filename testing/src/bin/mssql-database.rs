//! A database on the SQL Server that tests are to use, for tests in other languages: prints its URL, and drops it when
//! standard input ends, be it because the caller has ended.

use std::io::{self, Read as _};

use messenger_testing::MssqlDatabase;

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let database = runtime.block_on(MssqlDatabase::create());
    println!("{}", database.url());
    io::stdin().read_to_end(&mut vec![])?;
    runtime.block_on(database.end());
    Ok(())
}
