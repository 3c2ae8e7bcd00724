//! A SignalR hub of one's own, with nothing of the chat in it: `cargo run -p messenger-signalr --example hub`, and
//! connect any SignalR client to the address that it prints.

use async_trait::async_trait;
use axum::response::Response;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use messenger_signalr::{
    Caller, Hub, HubClient, HubError, HubMethod, HubRequest, Invocation, Invoked, Payload, Push,
    SignalROptions,
};

struct Demo;

#[async_trait]
impl Hub for Demo {
    /// Anybody may connect, so all are the same.
    type User = ();
    type Client = Connected;

    async fn authenticate(&self, _: HubRequest<'_>) -> Result<(), Response> {
        Ok(())
    }

    fn method(&self, name: &str) -> Option<HubMethod> {
        match name.to_ascii_lowercase().as_str() {
            // What it is given.
            "echo" => Some(HubMethod::default()),
            // The numbers from 1 to the one it is given.
            "count" => Some(HubMethod { streaming: true, uploads: 0 }),
            // The sum of a stream of numbers.
            "sum" => Some(HubMethod { streaming: false, uploads: 1 }),
            // What the client's own method `name` says.
            "whoami" => Some(HubMethod::default()),
            _ => None,
        }
    }

    async fn connect(&self, (): (), caller: Caller) -> Result<Connected, HubError> {
        Ok(Connected { caller })
    }
}

struct Connected {
    caller: Caller,
}

impl HubClient for Connected {
    async fn invoke(&mut self, mut invocation: Invocation<'_>) -> Invoked {
        let protocol = self.caller.protocol();
        match invocation.target.to_ascii_lowercase().as_str() {
            "count" => match invocation.argument().and_then(|count| Ok(count.read::<u32>()?)) {
                Ok(count) => {
                    let numbers = stream::iter(1..=count);
                    Invoked::Stream(numbers.map(move |number| Ok(protocol.payload(&number)?)).boxed())
                }
                Err(error) => Invoked::Stream(stream::iter([Err(error)]).boxed()),
            },
            "sum" => {
                let numbers = invocation.uploads.remove(0);
                let sum = numbers.map(|number| Ok(number?.read::<f64>()?));
                let sum = sum.try_fold(0.0, async |sum, number| Ok::<_, HubError>(sum + number));
                Invoked::Work(Box::pin(async move { Ok(protocol.payload(&sum.await?)?) }))
            }
            "whoami" => {
                let caller = self.caller.clone();
                let ask = async move {
                    let name: Result<String, _> = caller.invoke("name", &()).await;
                    let name = name.map_err(|error| HubError::exception(error.to_string()))?;
                    Ok(protocol.payload(&name)?)
                };
                Invoked::Work(Box::pin(ask))
            }
            _ => Invoked::Done(echo(&self.caller, &invocation)),
        }
    }

    /// This hub says nothing of its own accord.
    async fn next(&mut self) -> Push {
        std::future::pending().await
    }

    fn try_next(&mut self) -> Option<Push> {
        None
    }
}

fn echo(caller: &Caller, invocation: &Invocation<'_>) -> Result<Payload, HubError> {
    let value: serde_json::Value = invocation.argument()?.read()?;
    Ok(caller.protocol().payload(&value)?)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let options = SignalROptions::new().allow_stateful_reconnects(true).enable_detailed_errors(true);
    let app: axum::Router = axum::Router::new().nest("/hub", messenger_signalr::router(Demo, options));
    let port = std::env::args().nth(1).unwrap_or_else(|| "5000".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}/hub", listener.local_addr()?);
    axum::serve(listener, app).await
}
