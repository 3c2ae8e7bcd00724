//! Periodic work that does not depend on connections.

use std::{sync::Arc, time::Duration};

use crate::{context::Context, ports::Store};

/// Time between two removals of expired sessions.
const INTERVAL: Duration = Duration::from_secs(600);
/// Maximum number of sessions removed in one transaction.
const AT_ONCE: usize = 500;

/// Removes expired sessions.
pub(super) async fn remove_expired_sessions(store: Arc<dyn Store>, context: Context) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        loop {
            match store.remove_expired_sessions(context.now(), AT_ONCE).await {
                Ok(AT_ONCE) => {}
                Ok(_) => break,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "expired sessions were not removed");
                    break;
                }
            }
        }
    }
}
