use std::net::TcpListener;

use crate::support::{Server, binary, file, refused, run};

#[test]
fn help_explains_each_setting_with_its_default_and_variable() {
    let output = run(["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "--config <FILE>",
        "--listen <ADDRESS>",
        "[default: 127.0.0.1:8080] [env: MESSENGER_LISTEN]",
        "[default: sqlite://messenger.db] [env: MESSENGER_STORE_URL]",
        "PostgreSQL database",
        "postgres://USER:PASSWORD@HOST:PORT/DATABASE",
        "SQL Server or Azure SQL database",
        "mssql://USER:PASSWORD@HOST:PORT/DATABASE",
        "[default: messenger] [env: MESSENGER_STORE_SCHEMA]",
        "[default: 16] [env: MESSENGER_STORE_CONNECTIONS]",
        "[default: off] [env: MESSENGER_STORE_TRANSACTION_POOLING]",
        "[default: 10s] [env: MESSENGER_STORE_STATEMENT_TIMEOUT]",
        "[default: on] [env: MESSENGER_WORKERS]",
        "[default: on] [env: MESSENGER_RATE_LIMITS]",
        "[default: info] [env: MESSENGER_LOG]",
        "[default: text] [env: MESSENGER_LOG_FORMAT]",
        "serve",
        "migrate",
        "check-config",
        "jobs",
        "work",
    ] {
        assert!(help.contains(part), "{part} is missing in {help}");
    }
}

#[test]
fn a_flag_beats_a_variable_and_a_variable_beats_the_file() {
    let (_folder, path) = file("m.toml", "listen = \"127.0.0.1:1\"\nlog = \"warn\"\nlog-format = \"json\"\n");
    let output = binary()
        .args(["check-config", "--listen", "127.0.0.1:3", "--config", path.to_str().unwrap()])
        .env("MESSENGER_LISTEN", "127.0.0.1:2")
        .env("MESSENGER_LOG", "debug")
        .output()
        .unwrap();
    let lines: Vec<Vec<_>> = std::str::from_utf8(&output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect();
    for expected in [
        ["listen", "127.0.0.1:3", "--listen"],
        ["log", "debug", "MESSENGER_LOG"],
        ["log-format", "json", path.to_str().unwrap()],
        ["store-url", "sqlite://messenger.db", "default"],
    ] {
        assert!(lines.iter().any(|line| *line == expected), "{expected:?} is missing in {lines:#?}");
    }
}

#[test]
fn the_file_may_be_named_by_a_variable_and_flags_may_stand_before_the_command() {
    let (_folder, path) = file("m.toml", "max-connections = 7\nrate-limits = false\n");
    let output =
        binary().args(["--log", "off", "check-config"]).env("MESSENGER_CONFIG", &path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(" 7 ") && text.contains(" off "), "{text}");
}

#[test]
fn an_unknown_key_is_named() {
    let (_folder, path) = file("m.toml", "lsten = \"127.0.0.1:1\"\n");
    let said = refused(&run(["--config", path.to_str().unwrap()]));
    assert!(said.contains("`lsten`") && said.contains("did you mean `listen`?"), "{said}");
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    let (_folder, path) = file("m.toml", "log = \"info\"\nlisten = \n");
    let said = refused(&run(["check-config", "--config", path.to_str().unwrap()]));
    assert!(said.contains("line 2"), "{said}");
}

#[test]
fn values_that_make_no_sense_are_refused_wherever_they_come_from() {
    for (flag, value) in [
        ("--listen", "8080"),
        ("--store-url", "redis://host"),
        ("--store-url", "postgres://host"),
        ("--store-url", "mssql://host/chat"),
        ("--store-schema", "Chat"),
        ("--store-connections", "1"),
        ("--store-transaction-pooling", "yes"),
        ("--store-statement-timeout", "2h"),
        ("--redis-url", "rediz://host"),
        ("--redis-url", "redis://host,other"),
        ("--redis-url", "redis+sentinel://host"),
        ("--redis-url", "redis+cluster://host/2"),
        ("--bus", "rabbit"),
        ("--presence", "redis"),
        ("--node-name", "node 1"),
        ("--workers", "maybe"),
        ("--rate-limits", "maybe"),
        ("--password-pepper-file", "/does/not/exist"),
        ("--log", "a=b=c"),
        ("--log", "inf"),
        ("--log-format", "xml"),
        ("--max-connections", "0"),
        ("--shutdown-timeout", "10"),
    ] {
        let said = refused(&run([flag, value]));
        assert!(said.contains(flag) && said.contains(value), "{said}");

        let variable = format!("MESSENGER_{}", flag[2..].to_uppercase().replace('-', "_"));
        let said = refused(&binary().env(&variable, value).output().unwrap());
        assert!(said.contains(&variable) && said.contains(value), "{said}");

        let (_folder, path) = file("m.toml", &format!("{} = \"{value}\"\n", &flag[2..]));
        let said = refused(&run(["--config", path.to_str().unwrap()]));
        assert!(said.contains(&format!("{} in ", &flag[2..])) && said.contains("m.toml"), "{said}");
    }
}

#[test]
fn unknown_flags_and_commands_and_a_missing_file_are_refused() {
    assert!(refused(&run(["--litsen", "x"])).contains("did you mean `--listen`?"));
    assert!(refused(&run(["srve"])).contains("did you mean `serve`?"));
    assert!(refused(&run(["--listen"])).contains("--listen"));
    assert!(refused(&run(["--config", "/does/not/exist.toml"])).contains("/does/not/exist.toml"));
}

#[test]
fn a_password_in_a_url_is_not_shown() {
    for url in [
        "postgres://ann:hunter2@host",
        "postgres://ann:hunter2@host:port/db",
        "postgres://ann:1/hunter2@host/db",
        "postgres:ann:hunter2@host/db",
        "postgres//ann:hunter2@host/db",
        "postgres://host?password=hunter2",
        "mssql://ann:hunter2@host",
        "mssql://ann:hunter2@host:port/db",
        "sqlserver://ann:1/hunter2@host/db",
        "mssql:ann:hunter2@host/db",
        "mssql//ann:hunter2@host/db",
        "mssql://host?password=hunter2",
    ] {
        let said = refused(&run(["--store-url", url]));
        let scheme = url.split([':', '/']).next().unwrap();
        assert!(said.contains(&format!("--store-url is `{scheme}")) && !said.contains("hunter2"), "{said}");
    }
    for text in
        ["Server=h;Database=d;User Id=ann;Password=hunter2", "Server=tcp:h,1;Database=d;PWD={hunter2}"]
    {
        let said = refused(&run(["--store-url", text]));
        assert!(said.contains("--store-url is `Server=") && said.contains(".NET"), "{said}");
        assert!(said.contains("mssql://") && !said.contains("hunter2"), "{said}");
    }
    let url = "postgres://ann:hunter2@host/db";
    for arguments in [vec![url], vec!["--store-ulr", url], vec![&format!("--store-ulr={url}")]] {
        let said = refused(&run(arguments));
        assert!(!said.contains("hunter2"), "{said}");
    }
    for url in [
        "postgres://ann:hunter2@host/db",
        "postgres://ann@host/db?password=hunter2",
        "mssql://ann:hunter2@host/db",
        "mssql://ann@host/db?pwd=hunter2",
    ] {
        let output = run(["check-config", "--store-url", url]);
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("://ann") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_variable_that_resembles_a_setting_is_pointed_out() {
    let output = binary().arg("check-config").env("MESSENGER_LITSEN", "x").output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("MESSENGER_LITSEN") && said.contains("MESSENGER_LISTEN"), "{said}");
}

#[test]
fn a_port_in_use_is_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = refused(&run(["--store-url", "memory:", "--log", "off", "--listen", &address]));
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
}

#[test]
fn it_says_where_the_page_and_the_data_are_even_when_nothing_is_logged() {
    let server = Server::in_memory(["--log", "off"]);
    server.says("The data lies in memory");
}
