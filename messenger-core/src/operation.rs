//! The traits of commands and queries, and how each is run.

use std::time::Instant;

use crate::{
    cx::Cx,
    error::{Error, ErrorCode, Result},
};

/// Changes what is stored, or notifies others.
///
/// The trait is sealed: `Cx` has no name outside of this crate. The implementors listed below are all commands, each in
/// [`commands`](crate::commands); a host adds rules with a [`Policy`](crate::Policy).
pub trait Command: Send + 'static {
    /// The result.
    type Output: Send + 'static;
    /// Its name: of the method on sockets, of the operation in the OpenAPI document, and in metrics.
    const NAME: &'static str;
    /// The errors that it may return, besides [`Unauthenticated`](crate::Error::Unauthenticated),
    /// [`Unavailable`](crate::Error::Unavailable), [`Internal`](crate::Error::Internal) and those of the host's
    /// [`Policy`](crate::Policy).
    const ERRORS: &'static [ErrorCode];
    /// Whether it runs in a task of its own, so that a caller who stops waiting does not interrupt it between storing
    /// and announcing. Not needed where a task of the service does both.
    #[doc(hidden)]
    const DETACHED: bool = true;

    /// Checks the rules, stores the change, and records the announcements.
    #[doc(hidden)]
    fn run(self, cx: &mut Cx) -> impl Future<Output = Result<Self::Output>> + Send;
}

/// Reads without changing anything.
///
/// The trait is sealed, as [`Command`] is. The implementors listed below are all queries, each in
/// [`queries`](crate::queries).
pub trait Query: Send + 'static {
    /// The result.
    type Output: Send + 'static;
    /// Its name: of the method on sockets, of the operation in the OpenAPI document, and in metrics.
    const NAME: &'static str;
    /// The errors that it may return, besides [`Unauthenticated`](crate::Error::Unauthenticated),
    /// [`Unavailable`](crate::Error::Unavailable), [`Internal`](crate::Error::Internal) and those of the host's
    /// [`Policy`](crate::Policy).
    const ERRORS: &'static [ErrorCode];

    /// Checks the caller, and reads.
    #[doc(hidden)]
    fn run(self, cx: &Cx) -> impl Future<Output = Result<Self::Output>> + Send;
}

/// The result of an idempotent command: the same value for the first call and for each repetition.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Messenger, commands::OpenDirectChat, doc::register};
///
/// let messenger = Messenger::in_memory();
/// let (ada, bob) = (register(&messenger, "ada").await, register(&messenger, "bob").await);
/// let open = OpenDirectChat { user_id: bob.user()? };
/// assert!(messenger.execute(&ada, open.clone()).await?.created);
/// assert!(!messenger.execute(&ada, open).await?.created);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotent<T> {
    /// What the command created or found.
    pub value: T,
    /// Whether this call created it.
    pub created: bool,
}

impl<T: serde::Serialize> serde::Serialize for Idempotent<T> {
    /// Serialises only the value.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// Runs a command: asks the policy, runs the command itself, publishes, measures.
pub(crate) async fn execute<C: Command>(mut cx: Cx, command: C) -> Result<C::Output> {
    cx.policy().allow(cx.actor(), C::NAME).await?;
    let begun = Instant::now();
    let answer = command.run(&mut cx).await;
    #[cfg(test)]
    check_declared(C::NAME, C::ERRORS, &answer);
    if let Err(Error::Unavailable(_) | Error::Internal(_)) = &answer {
        cx.invalidate_write();
    }
    // Also announces what a command recorded before it failed: that part is stored.
    cx.flush().await;
    cx.measure(C::NAME, begun, &answer);
    answer
}

/// Runs a query: asks the policy, runs the query itself, measures.
pub(crate) async fn query<Q: Query>(cx: Cx, query: Q) -> Result<Q::Output> {
    cx.policy().allow(cx.actor(), Q::NAME).await?;
    let begun = Instant::now();
    let answer = query.run(&cx).await;
    #[cfg(test)]
    check_declared(Q::NAME, Q::ERRORS, &answer);
    cx.measure(Q::NAME, begun, &answer);
    answer
}

/// Clients are told the declared errors: an error that is not declared fails the test in which it occurs.
#[cfg(test)]
fn check_declared<T>(name: &str, declared: &[ErrorCode], answer: &Result<T>) {
    const OF_ALL: [ErrorCode; 3] = [ErrorCode::Unauthenticated, ErrorCode::Unavailable, ErrorCode::Internal];
    let Err(error) = answer else { return };
    let of_policy = error.to_string() == crate::testing::REFUSED_TEXT;
    let kind = error.kind();
    assert!(
        of_policy || OF_ALL.contains(&kind) || declared.contains(&kind),
        "{name} does not declare {kind:?}"
    );
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use crate::{
        Actor, Messenger,
        commands::LogOut,
        doc::register,
        queries::{GetMe, ListChats},
    };

    #[tokio::test]
    async fn each_operation_is_measured_with_what_it_came_to() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let _recording = metrics::set_default_local_recorder(&recorder);
        let messenger = Messenger::in_memory();
        let ada = register(&messenger, "ada").await;
        messenger.query(&ada, GetMe {}).await.unwrap();
        messenger.query(&ada, ListChats { limit: Some(0), cursor: None }).await.unwrap_err();
        messenger.execute(&Actor::anonymous(), LogOut {}).await.unwrap_err();
        let text = handle.render();
        let counts =
            text.lines().filter_map(|line| line.strip_prefix("messenger_operation_duration_seconds_count"));
        let mut counts: Vec<&str> = counts.collect();
        counts.sort_unstable();
        let expected = [
            r#"{operation="GetMe",outcome="ok"} 1"#,
            r#"{operation="ListChats",outcome="invalid"} 1"#,
            r#"{operation="LogOut",outcome="unauthenticated"} 1"#,
            r#"{operation="RegisterUser",outcome="ok"} 1"#,
        ];
        assert_eq!(counts, expected);
    }
}
