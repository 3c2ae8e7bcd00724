//! Runs the server until it is told to end.

mod http;
mod open_files;
mod signals;
mod stream;

use std::{io, net::SocketAddr};

use axum::Router;
use tokio::{net::TcpListener, time::Instant};

use self::{
    http::{ClientLimits, HttpServer},
    signals::Signals,
};
use crate::{config::Config, error::ServerError, metrics::Metrics, page, telemetry};

/// Serves until a signal comes, then lets work under way finish.
pub(crate) async fn serve(config: &Config) -> Result<(), ServerError> {
    let mut signals = Signals::install().map_err(ServerError::start)?;
    telemetry::init(config)?;
    let metrics = Metrics::install()?;
    // Before the store is opened, so that a second start by mistake leaves the data alone.
    let (listener, address) = listen(&config.listen).await?;
    let app = Router::new().merge(metrics.router()).merge(page::router());
    let server = HttpServer::start(listener, app, client_limits(config));
    announce(config, address);

    signals.next().await;
    eprintln!("Ending: work under way has {:?} to finish.", config.shutdown_timeout);
    tokio::select! {
        () = drain(config, &server) => Ok(()),
        () = signals.next() => Err(ServerError::Interrupted),
    }
}

async fn listen(address: &str) -> Result<(TcpListener, SocketAddr), ServerError> {
    let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ServerError::AddressInUse(address.to_owned()),
        _ => ServerError::Listen(address.to_owned(), error),
    })?;
    let address = listener.local_addr().map_err(ServerError::start)?;
    Ok((listener, address))
}

fn client_limits(config: &Config) -> ClientLimits {
    if let Some(files) = open_files::raise_limit()
        && files < config.max_connections as u64 + FILES_OF_THE_SERVER
    {
        tracing::warn!(
            open_files = files,
            max_connections = config.max_connections,
            "the system lets this process open fewer files than max-connections asks for; connections over that wait"
        );
    }
    ClientLimits {
        connections: config.max_connections,
        header_timeout: config.header_timeout,
        write_timeout: config.write_timeout,
    }
}

/// The data file and its readers, the listener, the runtime's own.
const FILES_OF_THE_SERVER: u64 = 64;

/// For the person who started it, whatever is logged.
fn announce(config: &Config, address: SocketAddr) {
    if address.ip().is_unspecified() {
        let port = address.port();
        eprintln!("The page is at http://localhost:{port}/ and at every other address of this machine.");
    } else {
        eprintln!("The page is at http://{address}/");
    }
    eprintln!("The data lies {}", config.store);
}

async fn drain(config: &Config, server: &HttpServer) {
    let deadline = Instant::now() + config.shutdown_timeout;
    server.stop();
    let cut = server.ended_by(deadline).await;
    if cut > 0 {
        tracing::warn!(connections = cut, "connections that did not end in time were cut");
    }
}
