//! The negotiation before there is a transport (`docs/specs/TransportProtocols.md` of ASP.NET Core).

use serde::Serialize;

use super::{
    options::{SignalROptions, Transport},
    request::query_value,
};

/// The highest supported version of the negotiation.
const HIGHEST: i64 = 1;

/// What a client requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NegotiateRequest {
    version: i64,
    /// Whether it requests stateful reconnect.
    pub(super) stateful: bool,
}

impl NegotiateRequest {
    pub(super) fn read(query: &str, options: &SignalROptions) -> Result<Self, String> {
        let asked = query_value(query, "negotiateVersion").unwrap_or("0");
        let version = asked
            .parse::<i64>()
            .map_err(|_| "The client requested a non-integer protocol version.".to_owned())?;
        if version < i64::from(options.minimum_protocol_version) {
            return Err(format!(
                "The client requested version '{version}', but the server does not support this version."
            ));
        }
        let wants = query_value(query, "useStatefulReconnect")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let stateful = wants && options.allow_stateful_reconnects && options.offers(Transport::WebSockets);
        Ok(Self { version: version.min(HIGHEST), stateful })
    }
}

/// The response: the available transports.
pub(super) fn offer(
    asked: &NegotiateRequest,
    token: &str,
    public_id: &str,
    options: &SignalROptions,
) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Offer<'a> {
        negotiate_version: i64,
        connection_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        connection_token: Option<&'a str>,
        available_transports: Vec<Offered>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        use_stateful_reconnect: bool,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Offered {
        transport: &'static str,
        transfer_formats: &'static [&'static str],
    }
    let offered = |transport: &Transport| Offered {
        transport: transport.name(),
        transfer_formats: if transport.is_binary() { &["Text", "Binary"] } else { &["Text"] },
    };
    let offer = Offer {
        negotiate_version: asked.version,
        // Version 0 has a single id, so it is the secret one.
        connection_id: if asked.version == 0 { token } else { public_id },
        connection_token: (asked.version > 0).then_some(token),
        available_transports: options.transports.iter().map(offered).collect(),
        use_stateful_reconnect: asked.stateful,
    };
    encode(&offer)
}

/// The response to a request that can't be met; clients show the text.
pub(super) fn error(error: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Failed<'a> {
        error: &'a str,
    }
    encode(&Failed { error })
}

fn encode(answer: &impl Serialize) -> Vec<u8> {
    // Texts and lists of texts always serialise.
    serde_json::to_vec(answer).unwrap_or_default()
}
