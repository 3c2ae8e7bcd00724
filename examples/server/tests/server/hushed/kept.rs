//! What is kept and said between nodes, as a thief would have it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::Path,
    thread::JoinHandle,
};

use messenger_testing::connect;
use sqlx::Row as _;

use super::WORD;
use crate::stores::{TestStore, block_on};

/// All that is in the store.
pub(super) fn stored(store: &TestStore) -> String {
    match store {
        TestStore::Sqlite(folder) => files(folder.path()),
        TestStore::Postgres(database) => block_on(rows(&database.url())),
        TestStore::Mssql(database) => block_on(database.rows()),
    }
}

fn files(folder: &Path) -> String {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = paths.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned());
    texts.collect::<Vec<_>>().join("\n")
}

/// Each row of each table as text, bytes in hex.
async fn rows(url: &str) -> String {
    let mut server = connect(url).await;
    let tables =
        "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables
        WHERE table_schema NOT IN ('pg_catalog', 'information_schema')";
    let tables = sqlx::query(tables).fetch_all(&mut server).await.unwrap();
    let mut all = String::new();
    for table in tables {
        let table: String = table.get(0);
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT t::text FROM {table} AS t")));
        for row in rows.fetch_all(&mut server).await.unwrap() {
            all.push_str(&row.get::<String, _>(0));
            all.push('\n');
        }
    }
    all
}

/// Writes down all that is said to a Redis.
pub(super) struct Listener {
    stream: TcpStream,
    heard: JoinHandle<Vec<String>>,
}

impl Listener {
    pub(super) fn begin(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let read = stream.try_clone().unwrap();
        let mut lines = BufReader::new(read).split(b'\n');
        assert_eq!(lines.next().unwrap().unwrap(), b"+OK\r");
        let line = |line: std::io::Result<Vec<u8>>| {
            line.ok().map(|line| String::from_utf8_lossy(&line).into_owned())
        };
        let heard = std::thread::spawn(move || lines.map_while(line).collect());
        Self { stream, heard }
    }

    pub(super) fn end(self) -> String {
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
        let heard = self.heard.join().unwrap();
        assert!(
            heard.iter().any(|line| line.contains("publish") || line.contains("PUBLISH")),
            "nothing was told"
        );
        heard.join("\n")
    }
}

/// Looks for what people wrote: in usernames and ids of requests, which are not sealed, no blank and no dot follows the word.
pub(super) fn tells_nothing(place: &str, text: &str) {
    let low = text.to_lowercase();
    assert!(
        low.contains(WORD),
        "the names that are not sealed are not in {place}: it is not what it should be"
    );
    // What stands before a word may be a byte of something else; behind it is what was written with it.
    for sign in [" ", ".", "@"] {
        let word = format!("{WORD}{sign}");
        let hex: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
        for form in [word.as_str(), &hex] {
            if let Some(at) = low.find(form) {
                let near: String = low[at..].chars().take(60).collect();
                panic!("{form:?} is in {place}: {near:?}");
            }
        }
    }
}

#[test]
fn what_people_wrote_is_found_in_a_store() {
    let found = |text: &str| std::panic::catch_unwind(|| tells_nothing("a text", text)).is_err();
    assert!(!found("zqxj_1,zqxj-2"));
    for text in ["zqxj text", "zqxj.1@zqxj.example", "zqxj_1 \\x7a71786a20746578", "nothing"] {
        assert!(found(text), "{text}");
    }
}
