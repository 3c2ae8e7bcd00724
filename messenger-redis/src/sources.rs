use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, Pipeline, RedisConnectionInfo, RedisResult, Value,
    aio::MultiplexedConnection,
};
use tokio::time::timeout;

use crate::{
    layout::{Layout, Member},
    server::{Server, ServerError, has_code},
};

/// Who knows which server has what.
pub(crate) enum Source {
    Cluster { hosts: Vec<Member> },
    Sentinel { hosts: Vec<(String, u16)>, service: String },
}

/// A connection over which somebody was asked.
pub(crate) struct Asked {
    /// Where it leads.
    host: String,
    connection: MultiplexedConnection,
}

impl Source {
    /// Asks one after the other, beginning with the one that answered the last time.
    ///
    /// # Errors
    /// The error of the last one.
    pub(crate) async fn ask(
        &self,
        server: &Server,
        known: Option<&Layout>,
        last: &mut Option<Asked>,
    ) -> Result<Layout, ServerError> {
        match self {
            Self::Cluster { hosts } => ask_cluster(server, hosts, known, last).await,
            Self::Sentinel { hosts, service } => ask_sentinels(server, hosts, service, last).await,
        }
    }
}

/// A server whose cluster is not well may know an old layout: it is believed only where there is no other.
async fn ask_cluster(
    server: &Server,
    hosts: &[Member],
    known: Option<&Layout>,
    last: &mut Option<Asked>,
) -> Result<Layout, ServerError> {
    let (mut error, mut unwell) = (ServerError::Away, None);
    let mut take = |answer: Result<(bool, Layout), ServerError>| match answer {
        Ok((true, layout)) => Some(layout),
        Ok((false, layout)) => {
            unwell.get_or_insert(layout);
            None
        }
        Err(why) => {
            error = why;
            None
        }
    };
    if let Some(asked) = last.as_mut() {
        if let Some(layout) = take(slots(server, asked).await) {
            return Ok(layout);
        }
        *last = None;
    }
    for member in known.map_or(&[][..], Layout::members).iter().chain(hosts) {
        let host = host_of(&member.client);
        let asked = async {
            let mut asked = Asked { connection: open(server, &member.client).await?, host };
            let answer = slots(server, &mut asked).await?;
            Ok((asked, answer))
        };
        match asked.await {
            Ok((asked, answer)) => {
                let is_well = answer.0;
                let layout = take(Ok(answer));
                if is_well {
                    *last = Some(asked);
                }
                if let Some(layout) = layout {
                    return Ok(layout);
                }
            }
            Err(why) => drop(take(Err(why))),
        }
    }
    unwell.filter(|_| known.is_none()).ok_or(error)
}

/// Whether the cluster is well, and its slots.
async fn slots(server: &Server, asked: &mut Asked) -> Result<(bool, Layout), ServerError> {
    let mut commands = Pipeline::new();
    commands.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
    let answer = timeout(server.timeout, commands.query_async(&mut asked.connection)).await;
    let (info, ranges): (String, Vec<Vec<Value>>) = answer.map_err(|_| ServerError::Late)??;
    let mut layout = Layout::of_cluster();
    for range in ranges {
        let mut parts = range.into_iter();
        let (first, last) = (part(parts.next())?, part(parts.next())?);
        let mut primary = part::<Vec<Value>>(parts.next())?.into_iter();
        let (host, port) = (part::<Option<String>>(primary.next())?, part(primary.next())?);
        let host = match host.as_deref() {
            // The server knows no better name of itself than the one by which it was asked.
            None | Some("") => &*asked.host,
            Some("?") => return Err(ServerError::Answer),
            Some(host) => host,
        };
        layout.give(first, last, server.member(host, port)?);
    }
    Ok((info.contains("cluster_state:ok"), layout))
}

fn part<T: FromRedisValue>(value: Option<Value>) -> Result<T, ServerError> {
    T::from_redis_value(value.ok_or(ServerError::Answer)?).map_err(|_| ServerError::Answer)
}

async fn ask_sentinels(
    server: &Server,
    hosts: &[(String, u16)],
    service: &str,
    last: &mut Option<Asked>,
) -> Result<Layout, ServerError> {
    if let Some(asked) = last.as_mut() {
        if let Ok(Some((host, port))) = primary(server, &mut asked.connection, service).await {
            return Ok(Layout::of_one(server.member(&host, port)?));
        }
        *last = None;
    }
    let mut error = ServerError::Away;
    for (host, port) in hosts {
        let asked = async {
            let mut connection = sentinel(server, host, *port).await?;
            let primary = primary(server, &mut connection, service).await?;
            Ok((Asked { host: host.clone(), connection }, primary))
        };
        match asked.await {
            Ok((asked, Some((host, port)))) => {
                *last = Some(asked);
                return Ok(Layout::of_one(server.member(&host, port)?));
            }
            Ok((_, None)) => error = ServerError::Service(service.to_owned()),
            Err(why) => error = why,
        }
    }
    Err(error)
}

/// A connection to a Sentinel. Where it asks for a password it gets that of Redis.
async fn sentinel(server: &Server, host: &str, port: u16) -> Result<MultiplexedConnection, ServerError> {
    let login = |login: &RedisConnectionInfo| {
        let nobody = RedisConnectionInfo::default();
        let user = login.username().map_or(nobody.clone(), |name| nobody.clone().set_username(name));
        login.password().map_or(user.clone(), |password| user.clone().set_password(password))
    };
    let nobody = server.client(host, port, RedisConnectionInfo::default())?;
    let mut connection = open(server, &nobody).await?;
    let answer: RedisResult<()> = redis::cmd("PING").query_async(&mut connection).await;
    match answer.map_err(ServerError::from) {
        Err(error) if has_code(&error, "NOAUTH") => {
            open(server, &server.client(host, port, login(&server.login))?).await
        }
        answer => answer.map(|()| connection),
    }
}

async fn primary(
    server: &Server,
    connection: &mut MultiplexedConnection,
    service: &str,
) -> Result<Option<(String, u16)>, ServerError> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(service);
    let answer = timeout(server.timeout, command.query_async(connection)).await;
    Ok(answer.map_err(|_| ServerError::Late)??)
}

async fn open(server: &Server, client: &Client) -> Result<MultiplexedConnection, ServerError> {
    let opened = server.open(client, AsyncConnectionConfig::new());
    timeout(server.timeout * 2, opened).await.unwrap_or(Err(ServerError::Late))
}

fn host_of(client: &Client) -> String {
    match client.get_connection_info().addr() {
        redis::ConnectionAddr::Tcp(host, _) | redis::ConnectionAddr::TcpTls { host, .. } => host.clone(),
        address => address.to_string(),
    }
}
