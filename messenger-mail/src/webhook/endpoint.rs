use std::{convert::Infallible, future::pending, io, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use url::Url;

/// Of an answer: more is not read.
const LARGEST: usize = 4 * 1024;
/// Of the head of an answer.
const HEAD: usize = 16 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where requests go.
pub(super) struct Endpoint {
    host: String,
    port: u16,
    /// As the header has it.
    authority: HeaderValue,
    path: String,
    /// Absent without TLS.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Why an address can't be used for requests. It shows nothing of the address, which may have a secret in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookUrlError {
    /// It is not one of the web.
    #[error(
        "an address such as https://example.org/notifications is expected, without a user and a password"
    )]
    Address,
    /// Certificates are not PEM, or TLS can't be set up.
    #[error("TLS can't be set up with these certificates")]
    Tls(#[source] BoxError),
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Of a refusal; empty if it can't be had.
    pub(super) text: String,
}

impl Endpoint {
    pub(super) fn new(url: &str, authorities: Option<&[u8]>) -> Result<Self, WebhookUrlError> {
        let url = Url::parse(url).map_err(|_| WebhookUrlError::Address)?;
        let has_login = !url.username().is_empty() || url.password().is_some();
        let (Some(host), Some(port), false) = (url.host_str(), url.port_or_known_default(), has_login) else {
            return Err(WebhookUrlError::Address);
        };
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let authority = HeaderValue::try_from(authority).map_err(|_| WebhookUrlError::Address)?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let tls = match url.scheme() {
            "http" => None,
            "https" => Some((connector(authorities)?, server_name(&host)?)),
            _ => return Err(WebhookUrlError::Address),
        };
        Ok(Self { path: path.to_owned(), host, port, authority, tls })
    }

    pub(super) async fn post(
        &self,
        headers: [(&'static str, &str); 3],
        body: Bytes,
    ) -> Result<Answer, BoxError> {
        let mut request = Request::post(&self.path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .header(header::USER_AGENT, concat!("messenger/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body))?;
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        match &self.tls {
            None => exchange(tcp, request).await,
            Some((connector, name)) => exchange(connector.connect(name.clone(), tcp).await?, request).await,
        }
    }
}

/// Whoever drops this closes the connection.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, BoxError> {
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEAD).handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(Answer { status, text: String::new() });
        }
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let text =
            body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
        Ok(Answer { status, text })
    };
    let driving = async {
        // How it ended shows in the answer, or in that there is none.
        let _ = connection.await;
        pending::<Infallible>().await
    };
    tokio::select! {
        answer = answer => answer,
        never = driving => match never {},
    }
}

fn connector(authorities: Option<&[u8]>) -> Result<TlsConnector, WebhookUrlError> {
    let wrong = |error: BoxError| WebhookUrlError::Tls(error);
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = authorities {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(|error| wrong(error.into()))?;
        if certificates.is_empty() {
            return Err(wrong(io::Error::from(io::ErrorKind::InvalidData).into()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| wrong(error.into()))?;
        }
    }
    // The one of the host, if it has chosen one.
    let provider = CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server_name(host: &str) -> Result<ServerName<'static>, WebhookUrlError> {
    ServerName::try_from(host.to_owned()).map_err(|_| WebhookUrlError::Address)
}
