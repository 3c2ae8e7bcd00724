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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use messenger_testing::{RedisCluster, RedisServer};

    use super::*;

    fn server() -> Server {
        Server {
            login: RedisConnectionInfo::default(),
            is_encrypted: false,
            authorities: None,
            has_role: false,
            prefix: "test".to_owned(),
            client_name: "test".to_owned(),
            timeout: Duration::from_secs(5),
        }
    }

    async fn ask(
        hosts: &[&RedisServer],
        known: Option<&Layout>,
    ) -> (Result<Layout, ServerError>, Option<Asked>) {
        let (server, mut last) = (server(), None);
        let hosts = hosts.iter().map(|host| server.member("127.0.0.1", host.port()).unwrap()).collect();
        let answer = Source::Cluster { hosts }.ask(&server, known, &mut last).await;
        (answer, last)
    }

    fn addresses(layout: &Layout) -> Vec<String> {
        let mut addresses: Vec<_> =
            layout.members().iter().map(|member| member.address.to_string()).collect();
        addresses.sort();
        addresses
    }

    #[tokio::test]
    async fn a_server_whose_cluster_is_not_well_is_believed_only_where_nothing_better_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["--cluster-enabled", "yes", "--dir", folder.path().to_str().unwrap()];
        let lonely = RedisServer::start_with(&arguments).await;
        // It does not know who has the others.
        assert_eq!(lonely.command("CLUSTER ADDSLOTSRANGE 0 99").await.as_deref(), Some("+OK"));
        let (answer, last) = ask(&[&lonely], None).await;
        let alone = answer.unwrap();
        assert_eq!(addresses(&alone), [lonely.address()]);
        assert!(last.is_none(), "a better one is looked for the next time");
        assert!(ask(&[&lonely], Some(&alone)).await.0.is_err());

        let cluster = RedisCluster::start().await;
        let (answer, last) = ask(&[&lonely, &cluster.servers[0]], Some(&alone)).await;
        let layout = answer.unwrap();
        assert!(last.is_some(), "it is asked the next time");
        let mut all = cluster.servers.each_ref().map(RedisServer::address);
        all.sort();
        assert_eq!(addresses(&layout), all);
        // None of those that are named has to be there.
        assert!(ask(&[], Some(&layout)).await.0.unwrap().is_same_as(&layout));
    }
}
