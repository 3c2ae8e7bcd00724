//! Encrypted connections to a server whose certificate is from an authority of its own.

use std::{error::Error, path::PathBuf, process::Command};

use messenger_core::{
    context::Context,
    ports::{Bus as _, BusEvent, PresenceStore as _, Topic},
};
use messenger_redis::{OpenError, Redis, RedisBuilder};
use messenger_testing::{RedisCluster, RedisServer};
use tempfile::TempDir;

use crate::support::{HERE, THERE, about, next};

struct Authority {
    pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        install_provider();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new([]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "authority");
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { pem, issuer: rcgen::Issuer::new(parameters, key) }
    }

    /// The files of a server that has this name: its certificate, its key, and the authority.
    fn files(&self, name: &str) -> (TempDir, [String; 3]) {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        // Otherwise it would look as if it had signed itself.
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let file = |name: &str, content: &str| {
            let path: PathBuf = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let files = [
            file("certificate.pem", &certificate.pem()),
            file("key.pem", &key.serialize_pem()),
            file("authority.pem", &self.pem),
        ];
        (folder, files)
    }
}

fn install_provider() {
    // Installed already if another test was first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn arguments([certificate, key, authority]: &[String; 3]) -> [&str; 8] {
    let no_clients = ["--tls-auth-clients", "no"];
    let [auth, no] = no_clients;
    ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", authority, auth, no]
}

/// A server, and its address for encrypted connections.
async fn server(files: &[String; 3]) -> (RedisServer, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let number = port.to_string();
    let server = RedisServer::start_with(&[&arguments(files)[..], &["--tls-port", &number]].concat()).await;
    (server, format!("localhost:{port}"))
}

async fn works(builder: RedisBuilder) -> Result<(), String> {
    let redis = builder.prefix("test").build().unwrap();
    let (bus, chat) = (redis.bus(), Context::system().id());
    redis.presence().query(&[Context::system().id()]).await.map_err(|error| reasons(&error))?;
    let mut subscription = bus.join(HERE).await.map_err(|error| reasons(&error))?;
    bus.subscribe(HERE, &[Topic::Chat(chat)]).await.map_err(|error| reasons(&error))?;
    bus.publish(THERE, &[about(chat)]).await.map_err(|error| reasons(&error))?;
    while next(&mut subscription).await != Some(BusEvent::Message(about(chat))) {}
    Ok(())
}

fn reasons(error: &(dyn Error + 'static)) -> String {
    let reasons = std::iter::successors(Some(error), |error| (*error).source());
    reasons.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn a_server_is_believed_by_the_authority_that_is_named_and_by_no_other() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (_folder, files) = authority.files("localhost");
    let (_server, address) = server(&files).await;
    let builder = Redis::builder(&format!("rediss://{address}"));
    assert_eq!(works(builder.clone().ca_certificates(authority.pem.clone())).await, Ok(()));
    // One of several is enough.
    let both = format!("{}{}", other.pem, authority.pem);
    assert_eq!(works(builder.clone().ca_certificates(both)).await, Ok(()));
    for builder in [builder.clone(), builder.ca_certificates(other.pem)] {
        let said = works(builder).await.unwrap_err();
        assert!(said.contains("invalid peer certificate"), "{said}");
    }
}

/// Tells the test below that it is the process whose environment names a file.
const URL: &str = "MESSENGER_TEST_REDISS_URL";

#[tokio::test]
async fn the_authorities_in_the_file_that_the_environment_names_are_trusted() {
    if let Ok(url) = std::env::var(URL) {
        install_provider();
        assert_eq!(works(Redis::builder(&url)).await, Ok(()));
        return;
    }
    let (authority, other) = (Authority::new(), Authority::new());
    let (_folder, files) = authority.files("localhost");
    let (_server, address) = server(&files).await;
    let (_other_folder, other_files) = other.files("localhost");
    for ([.., file], is_trusted) in [(files, true), (other_files, false)] {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "tls::the_authorities_in_the_file_that_the_environment_names_are_trusted"]);
        test.env("SSL_CERT_FILE", file).env(URL, format!("rediss://{address}"));
        let run = test.output().unwrap();
        assert_eq!(run.status.success(), is_trusted, "{}", String::from_utf8_lossy(&run.stdout));
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let (_folder, files) = authority.files("redis.example.org");
    let (_server, address) = server(&files).await;
    let builder = Redis::builder(&format!("rediss://{address}")).ca_certificates(authority.pem);
    let said = works(builder).await.unwrap_err();
    assert!(said.contains("invalid peer certificate: certificate not valid for name"), "{said}");
}

#[tokio::test]
async fn an_encrypted_cluster() {
    let authority = Authority::new();
    let (_folder, files) = authority.files("127.0.0.1");
    let cluster = RedisCluster::start_encrypted(&arguments(&files)).await;
    assert!(cluster.url().starts_with("rediss+cluster://"));
    let builder = Redis::builder(&cluster.url()).ca_certificates(authority.pem);
    assert_eq!(works(builder).await, Ok(()));
}

#[tokio::test]
async fn an_encrypted_sentinel() {
    let authority = Authority::new();
    let (_server_folder, files) = authority.files("127.0.0.1");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let server = RedisServer::start_with(&[&arguments(&files)[..], &["--tls-port", &port]].concat()).await;
    let [certificate, key, ca] = &files;
    let folder = tempfile::tempdir().unwrap();
    let tls = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let more = format!(
        "tls-port {tls}\ntls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {ca}\n\
         tls-auth-clients no\ntls-replication yes\nsentinel monitor safe 127.0.0.1 {port} 1"
    );
    let sentinel = RedisServer::start_sentinel(&server, folder.path(), &more).await;
    sentinel.until("SENTINEL MASTERS", |masters| masters.contains("safe")).await;
    let url = format!("rediss+sentinel://127.0.0.1:{tls}/safe");
    assert_eq!(works(Redis::builder(&url).ca_certificates(authority.pem)).await, Ok(()));
}

#[test]
fn certificates_that_are_none_are_refused() {
    let authority = Authority::new();
    let build = |url: &str, pem: &str| Redis::builder(url).ca_certificates(pem).build().unwrap_err();
    let broken = authority.pem.replace("MII", "AAA");
    for pem in ["", "secret", &broken] {
        assert!(matches!(build("rediss://h", pem), OpenError::Certificate), "{pem:?}");
    }
    assert!(matches!(build("redis://h", &authority.pem), OpenError::NotEncrypted));
}
