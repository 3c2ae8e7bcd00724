//! Sockets that a host does not serve.

use messenger_axum::Options;
use serde_json::Value;

use crate::support::Api;

/// The statuses of both sockets' routes, and the OpenAPI document.
async fn served(options: Options) -> ([u16; 2], Vec<u8>) {
    let api = Api::with(options.rate_limits(None));
    let ada = api.register("ada").await;
    let statuses = [ada.get("/ws").await.status, ada.post("/hub/negotiate", Value::Null).await.status];
    let document = ada.get("/openapi.json").await.bytes;
    (statuses.map(|status| status.as_u16()), document)
}

#[tokio::test]
async fn each_is_served_unless_it_is_left_out() {
    let (both, document) = served(Options::new()).await;
    // What comes to `/ws` here is no handshake.
    assert_eq!(both, [400, 200]);
    assert_eq!(served(Options::new().ws(false)).await, ([404, 200], document.clone()));
    assert_eq!(served(Options::new().hub(false)).await, ([400, 404], document.clone()));
    assert_eq!(served(Options::new().ws(false).hub(false)).await, ([404, 404], document));
}
