//! A hub to be tested with.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use http::StatusCode;
use messenger_signalr::{
    Caller, Close, Hub, HubClient, HubError, HubMethod, HubRequest, Invocation, Invoked, Payload, Placed,
    Push, StartAfter, Upload,
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
    clients: Mutex<Vec<Told>>,
    callers: Mutex<Vec<Caller>>,
    /// Lets one call that waits there go on.
    pub(crate) gate: Notify,
    began: watch::Sender<usize>,
    errors: watch::Sender<Vec<String>>,
    /// Of each request, whether it begins something.
    pub(crate) begins: Mutex<Vec<bool>>,
}

/// Where a client is told something, or its connection is ended.
type Told = mpsc::UnboundedSender<Result<Value, Close>>;

impl World {
    /// Waits until so many clients are connected.
    pub(crate) async fn has(&self, count: usize) {
        let mut connected = self.connected.subscribe();
        timeout(PATIENCE, connected.wait_for(|connected| *connected == count))
            .await
            .expect("so many")
            .unwrap();
    }

    pub(crate) fn count(&self) -> usize {
        *self.connected.borrow()
    }

    /// Waits until so many calls have reached the gate.
    pub(crate) async fn began(&self, count: usize) {
        let mut calls = self.began.subscribe();
        timeout(PATIENCE, calls.wait_for(|began| *began == count)).await.expect("so many").unwrap();
    }

    pub(crate) fn calls(&self) -> usize {
        *self.began.borrow()
    }

    /// Tells all clients, or ends their connections.
    pub(crate) fn tell(&self, what: &Result<Value, Close>) {
        self.clients.lock().unwrap().retain(|client| client.send(what.clone()).is_ok());
    }

    /// ClientCalls the client that came last for its name; what comes of that is of interest only if it is an error.
    pub(crate) async fn ask(self: &Arc<Self>) {
        let (caller, world) = (self.callers.lock().unwrap().last().unwrap().clone(), Arc::clone(self));
        tokio::spawn(async move { ask(&caller, &world).await });
        tokio::task::yield_now().await;
    }

    pub(crate) fn errors(&self) -> usize {
        self.errors.borrow().len()
    }

    /// Waits for an error in a method.
    pub(crate) async fn last_error(&self) -> String {
        let mut errors = self.errors.subscribe();
        let errors = timeout(PATIENCE, errors.wait_for(|errors| !errors.is_empty())).await.expect("one");
        errors.unwrap().last().unwrap().clone()
    }

    fn noted(&self, error: HubError) -> HubError {
        self.errors.send_modify(|errors| errors.push(error.to_string()));
        error
    }

    async fn at_the_gate(&self) {
        self.began.send_modify(|began| *began += 1);
        self.gate.notified().await;
    }
}

pub(crate) struct TestHub(pub(crate) Arc<World>);

#[async_trait]
impl Hub for TestHub {
    /// Whoever one says one is.
    type User = String;
    type Client = Connected;

    async fn authenticate(&self, request: HubRequest<'_>) -> Result<String, Response> {
        self.0.begins.lock().unwrap().push(request.begins);
        match request.token.unwrap_or("anybody") {
            "nobody" => Err(StatusCode::UNAUTHORIZED.into_response()),
            "banned" => Err(StatusCode::FORBIDDEN.into_response()),
            token => Ok(token.to_owned()),
        }
    }

    fn method(&self, name: &str) -> Option<HubMethod> {
        let plain = HubMethod::default();
        match name.to_ascii_lowercase().as_str() {
            "echo" | "wait" | "place" | "ask" | "told" | "hidden" | "forbidden" => Some(plain),
            "count" | "endless" | "broken" | "faulty" => Some(HubMethod { streaming: true, uploads: 0 }),
            "sum" | "late" | "deaf" | "keep" => Some(HubMethod { uploads: 1, ..plain }),
            "both" => Some(HubMethod { uploads: 2, ..plain }),
            _ => None,
        }
    }

    async fn connect(&self, user: String, caller: Caller) -> Result<Connected, HubError> {
        match user.as_str() {
            "unwelcome" => return Err(HubError::exception("not you")),
            "early" => return Err(HubError::Unavailable),
            "stuck" => std::future::pending().await,
            _ => {}
        }
        let (tell, told) = mpsc::unbounded_channel();
        self.0.clients.lock().unwrap().push(tell);
        self.0.callers.lock().unwrap().push(caller.clone());
        self.0.connected.send_modify(|connected| *connected += 1);
        Ok(Connected { caller, told, world: Arc::clone(&self.0) })
    }
}

pub(crate) struct Connected {
    caller: Caller,
    told: mpsc::UnboundedReceiver<Result<Value, Close>>,
    world: Arc<World>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.world.connected.send_modify(|connected| *connected -= 1);
    }
}

impl HubClient for Connected {
    async fn invoke(&mut self, mut invocation: Invocation<'_>) -> Invoked {
        let name = invocation.target.to_ascii_lowercase();
        let uploads = std::mem::take(&mut invocation.uploads);
        match name.as_str() {
            "echo" => Invoked::Done(echo(&self.caller, &invocation)),
            "told" => Invoked::Done(Err(HubError::exception("no"))),
            "hidden" => Invoked::Done(Err(HubError::Internal)),
            "forbidden" => Invoked::Done(Err(HubError::Unauthorized)),
            "place" => {
                let work = self.work(name, uploads);
                Invoked::Staged(Box::pin(async { Placed::UnderWay(work) }), StartAfter::Placed)
            }
            "wait" | "ask" | "sum" | "both" | "late" | "deaf" | "keep" => {
                Invoked::Work(self.work(name, uploads))
            }
            _ => Invoked::Stream(self.stream(&name, &invocation)),
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
    fn push(&self, told: Result<Value, Close>) -> Push {
        match told {
            Ok(value) => Push::Message(self.caller.protocol().invocation("told", &value).unwrap()),
            Err(close) => Push::End(close),
        }
    }

    fn work(&self, name: String, uploads: Vec<Upload>) -> BoxFuture<'static, Result<Payload, HubError>> {
        let (caller, world) = (self.caller.clone(), Arc::clone(&self.world));
        Box::pin(async move {
            if matches!(name.as_str(), "wait" | "place" | "late" | "deaf") {
                world.at_the_gate().await;
            }
            let protocol = caller.protocol();
            match name.as_str() {
                "ask" => Ok(protocol.payload(&ask(&caller, &world).await?)?),
                "sum" | "both" | "late" => {
                    let sum = sum(uploads).await.map_err(|error| world.noted(error))?;
                    Ok(protocol.payload(&sum)?)
                }
                "keep" => {
                    let kept = async move { sum(uploads).await.map_err(|error| world.noted(error)) };
                    tokio::spawn(kept);
                    Ok(protocol.payload("kept")?)
                }
                _ => Ok(protocol.payload("waited")?),
            }
        })
    }

    fn stream(
        &self,
        name: &str,
        invocation: &Invocation<'_>,
    ) -> BoxStream<'static, Result<Payload, HubError>> {
        let protocol = self.caller.protocol();
        let failed = |error| stream::iter([Ok(1), Err(error)]);
        let numbers = match name {
            "count" => match invocation.argument().and_then(|count| Ok(count.read::<u32>()?)) {
                Ok(count) => stream::iter(1..=count).map(Ok).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            },
            "broken" => failed(HubError::exception("torn")).boxed(),
            "faulty" => stream::iter([Err(HubError::Internal)]).boxed(),
            _ => stream::pending().boxed(),
        };
        numbers.map(move |number: Result<u32, HubError>| Ok(protocol.payload(&number?)?)).boxed()
    }
}

async fn ask(caller: &Caller, world: &World) -> Result<Value, HubError> {
    let name = caller.invoke("name", "why").await;
    name.map_err(|error| world.noted(HubError::exception(error.to_string())))
}

async fn sum(uploads: Vec<Upload>) -> Result<f64, HubError> {
    let mut sum = 0.0;
    for upload in uploads {
        let numbers = upload.map(|number| Ok::<_, HubError>(number?.read::<f64>()?));
        sum += numbers.try_fold(0.0, async |sum, number| Ok(sum + number)).await?;
    }
    Ok(sum)
}

fn echo(caller: &Caller, invocation: &Invocation<'_>) -> Result<Payload, HubError> {
    let value: Value = invocation.argument()?.read()?;
    Ok(caller.protocol().payload(&value)?)
}
