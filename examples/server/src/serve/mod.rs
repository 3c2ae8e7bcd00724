//! Runs the server until it is told to end.

mod http;
mod open_files;
mod peer;
mod signals;
mod stream;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use messenger_axum::{LoginLimit, Options, RateLimits};
use messenger_core::{
    Builder, Messenger, Settings,
    encryption::{SealedBus, SealedStore},
    ports::{Bus, Store},
};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout_at},
};

use self::{
    http::{ClientLimits, HttpServer},
    signals::Signals,
};
use crate::{
    config::{API, Config, Shared, StoreUrl},
    error::ServerError,
    keys::{self, Opened},
    mail::{self, Mail},
    metrics::Metrics,
    ops, page,
    role::Role,
    store, telemetry,
};

/// Serves until a signal comes, then lets work under way finish.
pub(crate) async fn serve(config: &Config, role: Role) -> Result<(), ServerError> {
    if role == Role::Work && config.store.url == StoreUrl::Memory {
        return Err(ServerError::NothingShared);
    }
    let mut signals = Signals::install().map_err(ServerError::start)?;
    telemetry::init(config)?;
    mail::check(config, role)?;
    let metrics = Metrics::install(config.node_name.as_deref())?;
    // Before the store is opened, so that a second start by mistake leaves the data alone.
    let (listener, address) = listen(&config.listen).await?;
    let store = tokio::select! {
        store = store::open(&config.store) => store?,
        // A database may let one wait for long.
        () = signals.next() => return Ok(()),
    };
    let Opened { store, sealed } = keys::seal(store, &config.encryption, true).await?;
    let mail = config.mail.as_ref().map(|mail| Mail::open(mail, address)).transpose()?;
    let _checking = mail.as_ref().zip(config.mail.as_ref()).map(|(mail, config)| mail.check(config));
    let messenger =
        messenger(config, role, (store, sealed.as_deref()), mail.as_ref()).map_err(ServerError::start)?;
    let app = app(config, role, &messenger).merge(metrics.router());
    let server = HttpServer::start(listener, app, client_limits(config));
    announce(config, role, address, sealed.is_some());
    tracing::info!(%address, store = %config.store, workers = does_jobs(config, role), "serving");

    signals.next().await;
    tracing::info!(connections = messenger.connections(), "ending");
    eprintln!("Ending: work under way has {:?} to finish.", config.shutdown_timeout);
    tokio::select! {
        () = drain(config, &server, &messenger) => Ok(()),
        () = signals.next() => Err(ServerError::Interrupted),
    }
}

fn does_jobs(config: &Config, role: Role) -> bool {
    config.workers || role == Role::Work
}

fn messenger(
    config: &Config,
    role: Role,
    (store, sealed): (Arc<dyn Store>, Option<&SealedStore>),
    mail: Option<&Mail>,
) -> Result<Messenger, messenger_core::Error> {
    let settings = Settings {
        password_peppers: config.peppers.clone(),
        retention: config.retention,
        ..Settings::default()
    };
    let builder =
        Messenger::builder(store).settings(settings).instrument_store(true).workers(does_jobs(config, role));
    let mut builder = among_nodes(builder, config, sealed);
    if let Some(mail) = mail {
        builder = builder.notifier(Arc::clone(&mail.notifier) as _, mail.settings.clone());
    }
    builder.build()
}

/// With what the nodes share.
pub(crate) fn among_nodes(builder: Builder, config: &Config, sealed: Option<&SealedStore>) -> Builder {
    let bus: Option<Arc<dyn Bus>> = match &config.nodes.bus {
        Shared::Memory => None,
        Shared::Postgres(nodes) => Some(Arc::new(nodes.bus())),
        Shared::Redis(redis) => Some(Arc::new(redis.bus())),
    };
    let builder = match (bus, sealed) {
        (None, _) => builder,
        (Some(bus), None) => builder.bus(bus),
        (Some(bus), Some(sealed)) => builder.bus(Arc::new(SealedBus::new(bus, sealed))),
    };
    match &config.nodes.presence {
        Shared::Memory => builder,
        Shared::Postgres(nodes) => builder.presence(Arc::new(nodes.presence())),
        Shared::Redis(redis) => builder.presence(Arc::new(redis.presence())),
    }
}

fn app(config: &Config, role: Role, messenger: &Messenger) -> Router {
    let health = messenger_axum::health(messenger.clone());
    if role == Role::Work {
        return health;
    }
    let mut options = Options::new()
        .timeout(config.request_timeout)
        .body_timeout(config.body_timeout)
        .answer_timeout(config.write_timeout)
        .rate_limits(config.rate_limits.then(RateLimits::default))
        .trusted_proxies(config.trusted_proxies)
        .allow_origins(config.allow_origins.iter().cloned());
    if let Some(redis) = &config.nodes.redis {
        options = options.rate_limiter(Arc::new(redis.rate_limiter()));
    }
    let ops = match &config.operator_key {
        Some(key) => {
            let limit = LoginLimit::new(&options);
            ops::router(messenger.jobs(), key.clone(), limit).merge(page::of_operators())
        }
        None => Router::new(),
    };
    Router::new()
        .merge(ops)
        .nest(API, messenger_axum::router(messenger.clone(), options))
        .merge(health)
        .merge(page::of_links(API))
        .merge(page::router(messenger.notifies()))
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
    let wanted = config.max_connections;
    let files = open_files::raise_limit().and_then(|files| usize::try_from(files).ok());
    // Over the limit of files nothing could be accepted, and nothing else be opened either.
    let own = FILES_OF_THE_SERVER + config.store.connections_to_server();
    let possible = files.map_or(wanted, |files| files.saturating_sub(own).max(1));
    if possible < wanted {
        tracing::info!(
            open_files = files,
            "the system's limit of open files leaves {possible} connections at a time"
        );
    }
    ClientLimits {
        connections: wanted.min(possible),
        header_timeout: config.header_timeout,
        write_timeout: config.write_timeout,
    }
}

/// The data file and its readers, the listener, the runtime's own. Connections to a database come on top.
const FILES_OF_THE_SERVER: usize = 64;

/// For the person who started it, whatever is logged.
fn announce(config: &Config, role: Role, address: SocketAddr, is_sealed: bool) {
    if role == Role::Work {
        eprintln!("Background jobs are done; health and metrics are at http://{address}/");
    } else if address.ip().is_unspecified() {
        let port = address.port();
        eprintln!("The page is at http://localhost:{port}/ and at every other address of this machine.");
    } else {
        eprintln!("The page is at http://{address}/");
    }
    eprintln!("The data lies {}{}", config.store, if is_sealed { ", encrypted" } else { "" });
    if let Some(mail) = &config.mail {
        eprintln!("Mail about what stays unread for {:?} goes to {}", mail.after, mail.url);
    }
}

async fn drain(config: &Config, server: &HttpServer, messenger: &Messenger) {
    let deadline = Instant::now() + config.shutdown_timeout;
    server.stop();
    messenger.drain();
    let cut = server.ended_by(deadline).await;
    if cut > 0 {
        tracing::warn!(connections = cut, "connections that did not end in time were cut");
    }
    if timeout_at(deadline.max(Instant::now() + CLOSING), messenger.close()).await.is_err() {
        tracing::warn!("the store was not closed in time; what was acknowledged is stored");
    }
}

/// What closing the store gets even when connections have used up the time: it saves a repair at the next start.
const CLOSING: Duration = Duration::from_secs(5);
