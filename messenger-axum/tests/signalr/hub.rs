//! A hub to be tested with.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::StatusCode;
use messenger_axum::signalr::{
    Asking, Caller, Hub, HubClient, HubError, HubMethod, Invocation, Invoked, Payload, Push,
};
use serde_json::Value;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};

use crate::support::PATIENCE;

/// What the hub shows of itself and what it is told to do.
#[derive(Default)]
pub(crate) struct World {
    connected: watch::Sender<usize>,
    clients: Mutex<Vec<mpsc::UnboundedSender<Told>>>,
    /// Lets one `Wait` or `Place` go on.
    pub(crate) gate: Notify,
    began: watch::Sender<usize>,
}

/// What a client is told.
type Told = Result<Value, messenger_axum::signalr::Goodbye>;

impl World {
    /// Waits until so many clients are connected.
    pub(crate) async fn has(&self, count: usize) {
        let mut connected = self.connected.subscribe();
        timeout(PATIENCE, connected.wait_for(|connected| *connected == count))
            .await
            .expect("so many")
            .unwrap();
    }

    /// Waits until so many calls have reached the gate.
    pub(crate) async fn began(&self, count: usize) {
        let mut calls = self.began.subscribe();
        timeout(PATIENCE, calls.wait_for(|began| *began == count)).await.expect("so many").unwrap();
    }

    pub(crate) fn count(&self) -> usize {
        *self.connected.borrow()
    }

    /// Tells all clients, or ends their connections.
    pub(crate) fn tell(&self, what: &Told) {
        self.clients.lock().unwrap().retain(|client| client.send(what.clone()).is_ok());
    }
}

pub(crate) struct TestHub(pub(crate) Arc<World>);

#[async_trait]
impl Hub for TestHub {
    /// Whoever one says one is.
    type User = String;
    type Client = Connected;

    async fn authenticate(&self, request: Asking<'_>) -> Result<String, Response> {
        match request.token.unwrap_or("anybody") {
            "nobody" => Err(StatusCode::UNAUTHORIZED.into_response()),
            token => Ok(token.to_owned()),
        }
    }

    fn method(&self, name: &str) -> Option<HubMethod> {
        match name.to_ascii_lowercase().as_str() {
            "echo" | "wait" | "place" | "ask" | "told" | "hidden" | "forbidden" => Some(HubMethod::default()),
            "count" | "endless" | "broken" => Some(HubMethod { streaming: true, uploads: 0 }),
            "sum" | "deaf" => Some(HubMethod { streaming: false, uploads: 1 }),
            _ => None,
        }
    }

    async fn connect(&self, user: String, caller: Caller) -> Result<Connected, HubError> {
        match user.as_str() {
            "unwelcome" => return Err(HubError::told("not you")),
            "stuck" => std::future::pending().await,
            _ => {}
        }
        let (tell, told) = mpsc::unbounded_channel();
        self.0.clients.lock().unwrap().push(tell);
        self.0.connected.send_modify(|connected| *connected += 1);
        Ok(Connected { caller, told, world: Arc::clone(&self.0) })
    }
}

pub(crate) struct Connected {
    caller: Caller,
    told: mpsc::UnboundedReceiver<Told>,
    world: Arc<World>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.world.connected.send_modify(|connected| *connected -= 1);
    }
}

impl HubClient for Connected {
    async fn invoke(&mut self, mut invocation: Invocation<'_>) -> Invoked {
        let (caller, world) = (self.caller.clone(), Arc::clone(&self.world));
        let protocol = caller.protocol();
        match invocation.target.to_ascii_lowercase().as_str() {
            "wait" => Invoked::Work(Box::pin(async move { waited(&caller, &world).await }), None),
            "place" => {
                let placed = Arc::new(true.into());
                Invoked::Work(Box::pin(async move { waited(&caller, &world).await }), Some(placed))
            }
            "ask" => Invoked::Work(
                Box::pin(async move {
                    let name: Result<Value, _> = caller.ask("name", "why").await;
                    let name = name.map_err(|error| HubError::told(error.to_string()))?;
                    Ok(protocol.payload(&name)?)
                }),
                None,
            ),
            "told" => Invoked::Done(Err(HubError::told("no"))),
            "hidden" => Invoked::Done(Err(HubError::Hidden)),
            "forbidden" => Invoked::Done(Err(HubError::Unauthorized)),
            "count" => match invocation.argument().and_then(|count| Ok(count.read::<u32>()?)) {
                Ok(count) => Invoked::Stream(
                    stream::iter(1..=count).map(move |number| Ok(protocol.payload(&number)?)).boxed(),
                ),
                Err(error) => Invoked::Stream(stream::iter([Err(error)]).boxed()),
            },
            "endless" => Invoked::Stream(stream::pending().boxed()),
            "broken" => {
                let items = [Ok(Payload::clone(&protocol.payload(&1).unwrap())), Err(HubError::told("torn"))];
                Invoked::Stream(stream::iter(items).boxed())
            }
            "sum" => {
                let numbers = invocation.uploads.remove(0).map(|number| Ok(number?.read::<f64>()?));
                let sum = numbers.try_fold(0.0, async |sum, number| Ok::<_, HubError>(sum + number));
                Invoked::Work(Box::pin(async move { Ok(protocol.payload(&sum.await?)?) }), None)
            }
            "deaf" => {
                let numbers = invocation.uploads.remove(0);
                Invoked::Work(
                    Box::pin(async move {
                        let answer = waited(&caller, &world).await;
                        drop(numbers);
                        answer
                    }),
                    None,
                )
            }
            _ => Invoked::Done(echo(&caller, &invocation)),
        }
    }

    async fn next(&mut self) -> Push {
        match self.told.recv().await {
            Some(told) => self.push(told),
            None => std::future::pending().await,
        }
    }

    fn try_next(&mut self) -> Option<Push> {
        self.told.try_recv().ok().map(|told| self.push(told))
    }
}

impl Connected {
    fn push(&self, told: Told) -> Push {
        match told {
            Ok(value) => Push::Message(self.caller.protocol().invocation("told", &value).unwrap()),
            Err(goodbye) => Push::End(goodbye),
        }
    }
}

async fn waited(caller: &Caller, world: &World) -> Result<Payload, HubError> {
    world.began.send_modify(|began| *began += 1);
    world.gate.notified().await;
    Ok(caller.protocol().payload("waited")?)
}

fn echo(caller: &Caller, invocation: &Invocation<'_>) -> Result<Payload, HubError> {
    let value: Value = invocation.argument()?.read()?;
    Ok(caller.protocol().payload(&value)?)
}
