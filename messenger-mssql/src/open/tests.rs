use std::{
    error::Error as _,
    io::Write as _,
    sync::atomic::{AtomicU32, Ordering},
};

use messenger_core::ports::Store as _;
use tokio::net::TcpListener;

use super::*;
use crate::fake::{Certificate, Reply, Server, Value, done, refusal, routing, rows};

const ADDRESS: &str = "mssql://sa:secret@db/app?encrypt=DANGER_PLAINTEXT";

const CLOSED: &str = "it has ended the connection, or is no SQL Server";

fn builder(server: &Server) -> MssqlBuilder {
    MssqlBuilder { dial: server.dial(), ..MssqlStore::builder(ADDRESS) }
}

/// What a server reports about itself: its version, edition, text, whether it can be written to, durability, row
/// versions.
#[derive(Clone, Copy)]
struct About(&'static str, i64, &'static str, &'static str, i64, i64);

const GOOD: About = About("16", 3, "Microsoft SQL Server 2022", "READ_WRITE", 0, 0);

fn about(about: About) -> Reply {
    let About(major, edition, name, updateability, durability, versioned) = about;
    let number = |number| Value::Number(Some(number));
    let text = |text| Value::Text(Some(text));
    rows(&[&[
        text(major),
        text("x.0.1"),
        number(edition),
        text(name),
        text(updateability),
        number(durability),
        number(versioned),
    ]])
}

/// A server that can be opened, with an empty database.
fn server() -> Server {
    let server = Server::new();
    server.whenever("SERVERPROPERTY", about(GOOD));
    server.whenever("sp_getapplock", rows(&[&[Value::Number(Some(0))]]));
    server
}

fn shown(error: &OpenError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(" {error} {error:?}");
        source = error.source();
    }
    text
}

#[tokio::test(start_paused = true)]
async fn a_store_is_opened_with_its_tables() {
    let server = server();
    let store = builder(&server).schema("chat").lanes(3).open().await.unwrap();
    assert_eq!(store.capabilities().append_lanes, 3);
    let texts = server.texts();
    assert!(texts.iter().any(|text| text.contains("INSERT INTO [chat].messenger_migrations")), "{texts:?}");
    // The connection that may wait for locks is not one of those that intents use.
    server.until(|seen| seen.open == 0).await;
    server.then(rows(&[&[Value::Number(Some(1))]]));
    let _ = store.ping().await;
    assert_eq!(server.connections().last(), Some(&2));
    store.close().await;
    server.until(|seen| seen.open == 0).await;
}

#[tokio::test(start_paused = true)]
async fn tables_are_not_changed_unasked() {
    let server = server();
    let error = builder(&server).migrate(false).open().await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Pending { version: 1 }, "{error:?}");
    assert_eq!(
        error.to_string(),
        "the schema messenger of the database db:1433/app lacks migration 1; run the migrations first"
    );
    assert!(!server.texts().iter().any(|text| text.contains("CREATE")));
}

#[tokio::test(start_paused = true)]
async fn servers_that_will_not_do_are_refused() {
    for (said, wanted) in [
        (GOOD, ""),
        (About { 0: "15", ..GOOD }, ""),
        (
            About { 0: "14", ..GOOD },
            "is SQL Server x.0.1, and 15 (SQL Server 2019) is the oldest that will do",
        ),
        // Azure SQL Database, its managed instance and Fabric number themselves 12.
        (About { 0: "12", 1: 5, ..GOOD }, ""),
        (About { 0: "12", 1: 8, ..GOOD }, ""),
        (About { 0: "12", 1: 12, ..GOOD }, ""),
        (About { 4: 130, ..GOOD }, ""),
        (About { 0: "12", 2: "Babelfish for PostgreSQL", 4: 120, ..GOOD }, ""),
        (About { 4: 1, ..GOOD }, ""),
        (About { 4: 2, ..GOOD }, "has DELAYED_DURABILITY = FORCED"),
        (About { 3: "READ_ONLY", ..GOOD }, "is read-only"),
    ] {
        let server = server();
        server.whenever("SERVERPROPERTY", about(said));
        let opened = builder(&server).open().await.map(drop).map_err(|error| error.to_string());
        match opened {
            Ok(()) => assert_eq!(wanted, ""),
            Err(error) => assert!(!wanted.is_empty() && error.contains(wanted), "{error}"),
        }
    }
    // Properties that an engine does not know are no reason to refuse it.
    let server = server();
    let (text, number) = (Value::Text(None), Value::Number(None));
    server.whenever("SERVERPROPERTY", rows(&[&[text, text, number, text, text, number, number, number]]));
    assert!(builder(&server).open().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn commits_are_numbered_where_the_engine_can_do_that() {
    let refused = || refusal(2715, 16, "Cannot find data type rowversion.");
    let (text, number) = (Value::Text(None), Value::Number(None));
    let other = || rows(&[&[text, text, number, text, text, number, number, number]]);
    let (numbered, bare) =
        (["rowversion NOT NULL,", "VALUES (NEWID());"], ["bigint NOT NULL DEFAULT 0,", "VALUES (NULL);"]);
    for (says, probed, wanted) in [
        (about(GOOD), refused(), numbered),
        (other(), rows(&[&[Value::Number(Some(1))]]), numbered),
        (other(), refused(), bare),
    ] {
        let server = server();
        server.whenever("SERVERPROPERTY", says);
        server.whenever("DECLARE @probe", probed);
        builder(&server).open().await.unwrap();
        let texts = server.texts();
        for wanted in wanted {
            assert!(texts.iter().any(|text| text.contains(wanted)), "{wanted}: {texts:?}");
        }
    }
    // A lost connection is no answer to the probe.
    let server = server();
    server.whenever("SERVERPROPERTY", other());
    server.whenever("DECLARE @probe", Reply::Cut(vec![]));
    let error = builder(&server).open().await.unwrap_err();
    assert!(error.to_string().contains(CLOSED), "{error}");
    assert!(!server.texts().iter().any(|text| text.contains("CREATE")));
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_is_said_in_time() {
    use OpenErrorKind::{Encryption, Failed, Login, NoDatabase, Unreachable};

    let limit = Duration::from_secs(5);
    for (server, wanted, kind) in [
        (server().at_first(Reply::Cut(vec![])), CLOSED, Unreachable),
        (server().at_first(Reply::Stall(vec![])), "it did not answer in time", Unreachable),
        (
            server().at_first(Reply::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
            "it did not answer in time",
            Unreachable,
        ),
        (server().at_first(Reply::Bytes(vec![4, 1, 0, 9, 0, 0, 1, 0, 77])), CLOSED, Unreachable),
        (server().at_login(Reply::Cut(vec![])), CLOSED, Unreachable),
        (server().at_login(Reply::Stall(vec![])), "it did not answer in time", Unreachable),
        (
            server().at_login(Reply::Bytes(vec![0; 40])),
            "it does not answer as an SQL Server does: Invalid packet length",
            Unreachable,
        ),
        (
            server().at_login(refusal(18_456, 14, "Login failed for user 'sa'.")),
            "Login failed for user 'sa'. (error 18456",
            Login,
        ),
        (
            server().at_login(refusal(4060, 11, "Cannot open database \"app\".")),
            "Cannot open database \"app\".",
            NoDatabase,
        ),
        (
            server().at_login(routing("other", 1500)),
            "it sends us on to another server, which is followed only if all is encrypted",
            Encryption,
        ),
        (server().at_login(refusal(17_809, 20, "Too many users.")), "Too many users. (error 17809", Failed),
    ] {
        let began_at = Instant::now();
        let error = builder(&server).connect_timeout(limit).open().await.unwrap_err();
        assert!(began_at.elapsed() <= limit, "{:?}", began_at.elapsed());
        assert_eq!(error.kind(), kind, "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("the database db:1433/app can't be used: {wanted}")), "{text}");
        assert!(!shown(&error).contains("secret"), "{}", shown(&error));
        server.until(|seen| seen.opened == 1 && seen.open == 0).await;
    }
    // Failures after the login, within the time limit of a call.
    for (text, reply, wanted) in [
        ("SERVERPROPERTY", Reply::Stall(vec![]), "it did not answer in time"),
        ("SERVERPROPERTY", Reply::Cut(vec![]), CLOSED),
        ("SERVERPROPERTY", Reply::Tokens(done()), "it does not answer as an SQL Server does: no row"),
        ("SERVERPROPERTY", refusal(208, 16, "Invalid object name 'sys.databases'."), "Invalid object name"),
        (
            "OBJECT_ID",
            refusal(229, 14, "The SELECT permission was denied."),
            "The SELECT permission was denied.",
        ),
        (
            "CREATE SCHEMA",
            refusal(262, 14, "CREATE SCHEMA permission denied."),
            "CREATE SCHEMA permission denied.",
        ),
    ] {
        let server = server();
        server.whenever(text, reply);
        let began_at = Instant::now();
        let error = builder(&server).open().await.unwrap_err();
        assert!(began_at.elapsed() <= Duration::from_secs(15));
        let text = error.to_string();
        assert!(text.starts_with(&format!("the database db:1433/app can't be used: {wanted}")), "{text}");
        server.until(|seen| seen.open == 0).await;
    }
}

#[tokio::test]
async fn a_server_that_can_not_be_reached_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = format!("mssql://sa:secret@127.0.0.1:{port}/app");
    // The listener accepts the connection, and sends nothing.
    let builder = || MssqlStore::builder(&address).connect_timeout(Duration::from_millis(200));
    let error = builder().open().await.unwrap_err();
    let wanted = format!("the database 127.0.0.1:{port}/app can't be used: it did not answer in time");
    assert_eq!(error.to_string(), wanted);
    drop(listener);
    let error = builder().open().await.unwrap_err();
    let wanted = format!("the database 127.0.0.1:{port}/app can't be used: it can't be reached: ");
    assert!(error.to_string().starts_with(&wanted), "{error}");
}

#[tokio::test]
async fn a_server_is_reached_by_tcp() {
    let server = server();
    let port = server.listen().await;
    let parameters = "encrypt=DANGER_PLAINTEXT";
    for address in [
        format!("mssql://sa:secret@127.0.0.1:{port}/app?{parameters}"),
        format!("mssql://sa:secret@localhost:{port}/app?{parameters}"),
        format!("mssql://sa:secret@localhost:{port}/app?{parameters}&multiSubnetFailover=true"),
        format!("Server=tcp:localhost,{port};Database=app;User Id=sa;Password=secret;{parameters}"),
    ] {
        let store = MssqlStore::connect(&address).await.unwrap();
        store.close().await;
    }
}

#[tokio::test]
async fn no_login_is_sent_without_encryption() {
    let server = server();
    let port = server.listen().await;
    for encrypt in ["true", "strict", "false"] {
        let address =
            format!("mssql://sa:secret@localhost:{port}/app?encrypt={encrypt}&trustServerCertificate=true");
        let limit = Duration::from_millis(500);
        let error = MssqlStore::builder(&address).connect_timeout(limit).open().await.unwrap_err();
        if encrypt == "true" {
            assert!(error.to_string().ends_with("it offers no encryption, which is required"), "{error}");
        }
    }
    assert_eq!(server.seen().logins, 0);
}

#[tokio::test]
async fn the_certificate_is_looked_at() {
    let certificate = Certificate::new();
    let server = server();
    let port = server.listen_encrypted(&certificate).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(certificate.authority.as_bytes()).unwrap();
    let address = format!("mssql://sa:secret@localhost:{port}/app?encrypt=strict");
    let file_name = file.path().to_str().unwrap().to_owned();

    let error = MssqlStore::connect(&address).await.unwrap_err();
    assert!(error.to_string().contains("the server's certificate was rejected"), "{error}");
    assert!(error.to_string().ends_with("`trustServerCertificateCA`"), "{error}");
    let with_authority = format!("{address}&trustServerCertificateCA={file_name}");
    let error =
        MssqlStore::connect(&format!("{with_authority}&hostNameInCertificate=other")).await.unwrap_err();
    assert!(error.to_string().contains("the server's certificate was rejected"), "{error}");
    assert_eq!(server.seen().logins, 0);

    MssqlStore::connect(&with_authority).await.unwrap();
    MssqlStore::builder(&address).certificate_authority(&file_name).open().await.unwrap();
    MssqlStore::builder(&with_authority).trust_server_certificate(true).open().await.unwrap();
    let trusting = format!("{address}&trustServerCertificate=true");
    MssqlStore::connect(&trusting).await.unwrap();
    MssqlStore::builder(&trusting).trust_server_certificate(false).open().await.unwrap_err();
    let both = MssqlStore::builder(&address).certificate_authority(&file_name).trust_server_certificate(true);
    assert_eq!(both.open().await.unwrap_err().kind(), OpenErrorKind::Address);
}

#[tokio::test]
async fn a_server_that_has_moved_is_followed_a_few_times() {
    let certificate = Certificate::new();
    let target = server();
    let port = target.listen_encrypted(&certificate).await;
    let gateway = server().at_login(routing("localhost", port));
    let port = gateway.listen_encrypted(&certificate).await;
    let parameters = "encrypt=strict&trustServerCertificate=true";
    let address = format!("mssql://sa:secret@localhost:{port}/app?{parameters}");
    MssqlStore::connect(&address).await.unwrap();
    assert_eq!((gateway.seen().logins, target.seen().logins), (1, 1));

    let circle = server();
    let port = circle.listen_encrypted(&certificate).await;
    let circle = circle.at_login(routing("localhost", port));
    let address = format!("mssql://sa:secret@localhost:{port}/app?{parameters}");
    let error = MssqlStore::connect(&address).await.unwrap_err();
    assert!(error.to_string().ends_with("it sends us on and on to other servers"), "{error}");
    assert_eq!(circle.seen().logins, 4);
}

struct Counting(AtomicU32);

#[async_trait::async_trait]
impl TokenSource for Counting {
    async fn token(&self) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            2.. => Err("the identity is gone".into()),
            _ => Ok("SECRET".to_owned()),
        }
    }
}

#[tokio::test]
async fn a_token_is_asked_for_with_each_connection() {
    let certificate = Certificate::new();
    let server = server();
    let port = server.listen_encrypted(&certificate).await;
    let address = format!("mssql://localhost:{port}/app?encrypt=strict&trustServerCertificate=true");
    let builder = MssqlStore::builder(&address).aad_token(Counting(AtomicU32::new(0)));
    assert!(!format!("{builder:?}").contains("SECRET"));
    builder.clone().open().await.unwrap();
    builder.clone().open().await.unwrap();
    let error = builder.open().await.unwrap_err();
    let wanted = format!(
        "the database localhost:{port}/app can't be used: there is no token to log in with: the identity is gone"
    );
    assert_eq!(error.to_string(), wanted);
    assert_eq!(server.seen().logins, 2);
    let fixed = MssqlStore::builder(&address).aad_token("SECRET".to_owned());
    fixed.open().await.unwrap();
}

#[tokio::test]
async fn what_can_not_be_opened_is_said_before_it_is_tried() {
    let file = "mssql://sa:secret@db/app?trustServerCertificateCA=/no/such/file.pem";
    let token = || "SECRET".to_owned();
    for (builder, wanted) in [
        (MssqlStore::builder("mssql://sa:secret@db"), "it names no database"),
        (MssqlStore::builder("mssql://db/app"), "it names no user, and no source of tokens is set"),
        (
            MssqlStore::builder("mssql://sa@db/app").aad_token(token()),
            "it names a user, and a source of tokens is set",
        ),
        (
            MssqlStore::builder("mssql://db/app?encrypt=DANGER_PLAINTEXT").aad_token(token()),
            "a token is sent over an encrypted connection only",
        ),
        (
            MssqlStore::builder(file),
            "the file /no/such/file.pem with the certificates of authorities can't be read: ",
        ),
    ] {
        let error = builder.open().await.unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::Address, "{error:?}");
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("the address of the SQL Server database can't be used: {wanted}")),
            "{text}"
        );
        assert!(!shown(&error).to_lowercase().contains("secret"));
    }
    let error = MssqlStore::builder(ADDRESS).schema("dbo").open().await.unwrap_err();
    assert!(error.to_string().starts_with("`dbo` can't be the name of a schema: "), "{error}");
}

#[test]
fn the_builder_shows_no_secret() {
    assert!(!format!("{:?}", MssqlStore::builder(ADDRESS)).contains("secret"));
}
