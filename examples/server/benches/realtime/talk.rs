//! Ordinary people, who read and write a little, and how long they wait.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use messenger_core::ChatId;

use crate::{
    Result,
    crowd::percentile,
    http::Http,
    report::{Report, Row, Series},
    world::Person,
};

/// Between two requests of one person.
const PAUSE: Duration = Duration::from_millis(10);

/// What they had of it.
#[derive(Default, Clone)]
pub(crate) struct Talk {
    /// Of each reading request, in rising order.
    reads: Vec<Duration>,
    /// Of each message, in rising order.
    sends: Vec<Duration>,
    errors: u64,
}

/// The people of these pairs each ask who they are, read a page and write, again and again.
pub(crate) async fn talk(
    address: SocketAddr,
    pairs: &[([Person; 2], ChatId)],
    length: Duration,
) -> Result<Talk> {
    let end = Instant::now() + length;
    let people = pairs.iter().flat_map(|(two, chat)| two.iter().map(|person| (person.token.clone(), *chat)));
    let talking: Vec<_> =
        people.map(|(token, chat)| tokio::spawn(one(Http::new(address, &token), chat, end))).collect();
    let mut all = Talk::default();
    for one in talking {
        let one = one.await?;
        all.reads.extend(one.reads);
        all.sends.extend(one.sends);
        all.errors += one.errors;
    }
    all.reads.sort_unstable();
    all.sends.sort_unstable();
    Ok(all)
}

async fn one(mut http: Http, chat: ChatId, end: Instant) -> Talk {
    let path = format!("/chats/{chat}/messages");
    let body = format!(r#"{{"body":"{:.<100}"}}"#, "");
    let requests = [("GET", "/users/me", ""), ("GET", &path, ""), ("POST", &path, &body)];
    let mut talk = Talk::default();
    for (method, path, body) in requests.into_iter().cycle() {
        if Instant::now() > end {
            break;
        }
        let began = Instant::now();
        let answer = http.ask(method, path, body).await;
        if method == "GET" { &mut talk.reads } else { &mut talk.sends }.push(began.elapsed());
        talk.errors += u64::from(!matches!(answer, Ok((200..=299, _))));
        tokio::time::sleep(PAUSE).await;
    }
    talk
}

/// Quiet rounds, and as many beside those who disturb.
#[derive(Default)]
pub(crate) struct Talks {
    pub(crate) quiet: Vec<Talk>,
    pub(crate) beside: Vec<Talk>,
}

impl Talks {
    /// The waits beside are to be at most so many times the quiet ones, where that is an aim, and errors none.
    pub(crate) fn report(&self, report: &mut Report, aim: &'static str, what: &str, most_times: Option<f64>) {
        for (kind, of) in [("reads", reads as fn(&Talk) -> &[Duration]), ("sends", sends)] {
            for percent in [50, 99] {
                let figures = |talks: &[Talk]| {
                    talks.iter().map(|talk| percentile(of(talk), percent) * 1e3).collect::<Vec<_>>()
                };
                let row = Row::new(aim, format!("{what}: others' {kind} p{percent}, beside quiet"), "ms");
                let row = match most_times {
                    Some(most) if percent == 99 => row.at_most_times(most),
                    _ => row,
                };
                report.add(row, Series { measured: figures(&self.beside), floor: figures(&self.quiet) });
            }
        }
        let errors = |talks: &[Talk]| talks.iter().map(|talk| talk.errors as f64).collect::<Vec<_>>();
        report.add(
            Row::new(aim, format!("{what}: others' errors"), "").worst().aims(0.0, 0.0),
            Series { measured: errors(&self.beside), floor: errors(&self.quiet) },
        );
    }
}

fn reads(talk: &Talk) -> &[Duration] {
    &talk.reads
}

fn sends(talk: &Talk) -> &[Duration] {
    &talk.sends
}
