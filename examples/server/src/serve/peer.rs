//! Clients that are lost without a word, as the system sees them.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// So long nothing may come from a client, not even that its system has what was sent to it.
const LOST_AFTER: Duration = Duration::from_secs(60);
/// When its system is asked whether it is there, and how often from then on until it says so. Sockets and event
/// streams have pings of their own more often than this, so that it is rarely to be asked.
const ASK_AFTER: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_secs(10);

/// Lets the system end the connection once the client is lost: by itself it would ask only after two hours, and try
/// for a quarter of an hour to get through with what was sent. `write_timeout` is how long the client may read nothing
/// of it, which is no reason to think it lost.
pub(super) fn watch(socket: &TcpStream, write_timeout: Duration) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_EVERY))?;
    // Elsewhere the system has its own idea of how long it tries.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(LOST_AFTER.max(write_timeout)))?;
    #[cfg(not(target_os = "linux"))]
    let _ = (LOST_AFTER, write_timeout);
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_connection_ends_with_its_client_and_not_before_its_time() {
        for (write_timeout, lost_after) in [(30, 60), (300, 300)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap());
            let (client, accepted) = tokio::join!(client, listener.accept());
            let (_client, (socket, _)) = (client.unwrap(), accepted.unwrap());
            watch(&socket, Duration::from_secs(write_timeout)).unwrap();
            let socket = SockRef::from(&socket);
            assert!(socket.keepalive().unwrap());
            #[cfg(target_os = "linux")]
            {
                assert_eq!(socket.tcp_keepalive_time().unwrap(), ASK_AFTER);
                assert_eq!(socket.tcp_keepalive_interval().unwrap(), ASK_EVERY);
                assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(lost_after)));
            }
        }
    }
}
