//! The memory of the server before, in and after log-ins and a burst of messages.

use std::{net::SocketAddr, time::Duration};

use tokio::task::JoinSet;

use crate::{
    Plan, Result,
    crowd::Side,
    http::Http,
    report::{Report, Row, Series},
    sides::serve_alone,
    world::World,
};

/// Who log in at once, and how often all together.
const PEOPLE: usize = 20;
const LOG_INS: usize = 100;
/// Two people each, who send the burst.
const PAIRS: usize = 10;
const MESSAGES: usize = 50_000;
const LOOK: Duration = Duration::from_millis(50);

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result {
    let side = serve_alone(plan, world).await?;
    let address = side.process.address;
    let (soon, later, messages) = if plan.quick { (3, 6, MESSAGES / 10) } else { (15, 60, MESSAGES) };
    let mut seen = Seen { side, report };
    seen.now("at the start")?;
    seen.during("one registration", register(address, 0)).await?;
    seen.after(soon, "later").await?;
    for number in 1..PEOPLE {
        register(address, number).await?;
    }
    seen.during(&format!("{LOG_INS} log-ins, {PEOPLE} at once"), log_ins(address)).await?;
    seen.after(soon * 2, "later").await?;
    seen.during(&format!("{messages} messages of 100 characters"), send(address, world, messages)).await?;
    seen.after(soon, "later").await?;
    seen.after(later, "later still").await
}

struct Seen<'r> {
    side: Side,
    report: &'r mut Report,
}

impl Seen<'_> {
    fn add(&mut self, what: &str, bytes: u64) {
        let measured = vec![bytes as f64 / 1024.0 / 1024.0];
        self.report.add(Row::new("memory", what, "MiB"), Series { measured, floor: Vec::new() });
    }

    fn now(&mut self, what: &str) -> Result {
        let memory = self.side.process.anonymous()?;
        self.add(what, memory);
        Ok(())
    }

    async fn after(&mut self, seconds: u64, what: &str) -> Result {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.now(&format!("{seconds} s {what}"))
    }

    async fn during(&mut self, what: &str, work: impl Future<Output = Result>) -> Result {
        let mut work = std::pin::pin!(work);
        let mut most = 0;
        let done = loop {
            let done = tokio::time::timeout(LOOK, work.as_mut()).await;
            most = most.max(self.side.process.anonymous()?);
            if let Ok(done) = done {
                break done;
            }
        };
        self.add(&format!("{what}: most"), most);
        self.now(&format!("{what}: at once after"))?;
        done
    }
}

async fn expect(http: &mut Http, path: &str, body: &str) -> Result {
    match http.ask("POST", path, body).await? {
        (200..=299, _) => Ok(()),
        (status, answer) => {
            Err(format!("{path} was answered with {status}, {}", String::from_utf8_lossy(&answer)).into())
        }
    }
}

const PASSWORD: &str = "correct horse battery";

async fn register(address: SocketAddr, number: usize) -> Result {
    let body = format!(
        r#"{{"username":"logger{number}","email":"logger{number}@example.org","password":"{PASSWORD}"}}"#
    );
    expect(&mut Http::new(address, ""), "/auth/register", &body).await
}

async fn log_ins(address: SocketAddr) -> Result {
    let mut people = JoinSet::new();
    for number in 0..PEOPLE {
        people.spawn(async move {
            let mut http = Http::new(address, "");
            let body = format!(r#"{{"login":"logger{number}","password":"{PASSWORD}"}}"#);
            for _ in 0..LOG_INS / PEOPLE {
                expect(&mut http, "/auth/login", &body).await?;
            }
            Ok(())
        });
    }
    all(people).await
}

async fn send(address: SocketAddr, world: &World, messages: usize) -> Result {
    let mut people = JoinSet::new();
    for (two, chat) in &world.pairs[..PAIRS] {
        for person in two {
            let (mut http, path) = (Http::new(address, &person.token), format!("/chats/{chat}/messages"));
            let body = format!(r#"{{"body":"{:.<100}"}}"#, "");
            people.spawn(async move {
                for _ in 0..messages / PAIRS / 2 {
                    expect(&mut http, &path, &body).await?;
                }
                Ok(())
            });
        }
    }
    all(people).await
}

async fn all(mut people: JoinSet<Result>) -> Result {
    while let Some(done) = people.join_next().await {
        done??;
    }
    Ok(())
}
