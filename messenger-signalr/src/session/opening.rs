//! The handshake, before a connection is open.

use futures::{SinkExt as _, StreamExt as _};
use tokio::time::timeout;

use crate::{
    options::SignalROptions,
    protocol::{Framing, Malformed, Protocol, Records, handshake},
    transports::{Line, Outgoing, Received},
};

/// The highest supported version of the hub protocols: with acknowledgements.
const HIGHEST: u32 = 2;
/// The first version with acknowledgements.
const WITH_ACKS: u32 = 2;

/// The result of the handshake.
pub(super) struct Agreed {
    pub(super) protocol: Protocol,
    /// Whether the client supports stateful reconnect.
    pub(super) acks: bool,
}

/// Reads the handshake, and refuses an invalid one; `None` if the connection failed because of it.
pub(super) async fn shake_hands<L: Line>(
    line: &mut L,
    records: &mut Records,
    options: &SignalROptions,
) -> Option<Agreed> {
    let request = match timeout(options.handshake_timeout, receive(line, records)).await {
        Ok(Ok(request)) => request,
        Ok(Err(Refused::Gone)) => return None,
        Ok(Err(Refused::Malformed(Malformed::TooLarge { .. }))) | Err(_) => {
            return refuse(line, options, "Handshake was canceled.").await;
        }
        Ok(Err(Refused::Malformed(error))) => {
            let unexpected = "An unexpected error occurred during connection handshake.";
            if options.enable_detailed_errors {
                return refuse(line, options, &format!("{unexpected} InvalidDataException: {error}")).await;
            }
            return refuse(line, options, unexpected).await;
        }
    };
    let (name, version) = request;
    let Some(protocol) = Protocol::named(&name) else {
        let name: String = name.chars().take(100).collect();
        return refuse(line, options, &format!("The protocol '{name}' is not supported.")).await;
    };
    if version > i64::from(HIGHEST) {
        let name = protocol.name();
        let text = format!("The server does not support version {version} of the '{name}' protocol.");
        return refuse(line, options, &text).await;
    }
    if protocol.is_binary() {
        if !line.transport().is_binary() {
            let name = protocol.name();
            let text = format!(
                "Cannot use the '{name}' protocol on the current transport. \
                 The transport does not support 'Binary' transfer format."
            );
            return refuse(line, options, &text).await;
        }
        line.use_binary();
    }
    Some(Agreed { protocol, acks: version >= i64::from(WITH_ACKS) })
}

/// Accepts the client's handshake. Returns whether the response could be sent.
pub(super) async fn accept<L: Line>(line: &mut L, options: &SignalROptions) -> bool {
    let accepted =
        timeout(options.transport_send_timeout, line.send(Outgoing::Record(handshake::accepted()))).await;
    matches!(accepted, Ok(Ok(())))
}

enum Refused {
    Gone,
    Malformed(Malformed),
}

async fn receive<L: Line>(line: &mut L, records: &mut Records) -> Result<(String, i64), Refused> {
    loop {
        if let Some(record) = records.next(Framing::Text).map_err(Refused::Malformed)? {
            let request = handshake::read(&record).map_err(Refused::Malformed)?;
            return Ok((request.protocol.into_owned(), i64::from(request.version)));
        }
        match line.next().await {
            Some(Received::Data(bytes)) => records.push(bytes),
            Some(Received::Alive) => {}
            // The handshake belongs to one socket; it can't be continued on another.
            Some(Received::Attached | Received::Lost | Received::Ended | Received::Broken) | None => {
                return Err(Refused::Gone);
            }
        }
    }
}

async fn refuse<L: Line>(line: &mut L, options: &SignalROptions, error: &str) -> Option<Agreed> {
    let _ =
        timeout(options.transport_send_timeout, line.send(Outgoing::Record(handshake::refused(error)))).await;
    line.finish(options.close_timeout).await;
    None
}
