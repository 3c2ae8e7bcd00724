//! Identifies the client of a request: the person and the network.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap};
use messenger_core::{Actor, UserId};

/// A group of requests that share a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    /// The [`network`] of the address, if that is known.
    pub(crate) network: Option<IpAddr>,
    /// The person, once known.
    pub(crate) person: Option<UserId>,
}

impl Client {
    /// An unknown person at this address.
    pub(crate) fn at(address: Option<IpAddr>) -> Self {
        Self { network: address.map(network), person: None }
    }

    /// The logged-in person, from any address.
    #[cfg(any(feature = "ws", feature = "signalr"))]
    pub(crate) fn of(actor: &Actor) -> Self {
        Self { network: None, person: actor.user().ok() }
    }

    /// Adds the person who has been authenticated as `actor`.
    pub(crate) fn known(self, actor: &Actor) -> Self {
        Self { person: actor.user().ok(), ..self }
    }
}

/// The part of an address that a client can't change at will: an IPv4 address, or the /64 of an IPv6 address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// The client's address: that of the connection, or the one that the last trusted proxy reports.
pub(crate) fn address(
    extensions: &Extensions,
    headers: &HeaderMap,
    trusted_proxies: usize,
) -> Option<IpAddr> {
    let connection = || extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    match trusted_proxies {
        0 => connection(),
        count => forwarded(headers, count).or_else(connection),
    }
}

fn forwarded(headers: &HeaderMap, from_right: usize) -> Option<IpAddr> {
    let values = headers.get_all("x-forwarded-for");
    let hops: Vec<&str> =
        values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
    // With fewer hops than proxies, the client reached an inner proxy directly; the leftmost is all there is.
    let hop = hops.get(hops.len().saturating_sub(from_right))?.trim();
    // Some proxies add the port.
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn seen(forwarded: &[&'static str], trusted: usize) -> Option<String> {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 5000))));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        address(&extensions, &headers, trusted).map(|address| address.to_string())
    }

    #[test]
    fn what_a_client_writes_itself_is_not_believed() {
        let spoofed = ["203.0.113.9, 198.51.100.7", "10.0.0.2"];
        assert_eq!(seen(&spoofed, 0).unwrap(), "192.0.2.1");
        assert_eq!(seen(&spoofed, 1).unwrap(), "10.0.0.2");
        assert_eq!(seen(&spoofed, 2).unwrap(), "198.51.100.7");
        assert_eq!(seen(&[], 1).unwrap(), "192.0.2.1");
        assert_eq!(seen(&["nonsense"], 1).unwrap(), "192.0.2.1");
    }

    #[test]
    fn ports_and_brackets_are_understood() {
        assert_eq!(seen(&["198.51.100.7:4711"], 1).unwrap(), "198.51.100.7");
        assert_eq!(seen(&["[2001:db8::1]:4711"], 1).unwrap(), "2001:db8::1");
        assert_eq!(seen(&["[2001:db8::1]"], 1).unwrap(), "2001:db8::1");
    }
}
