use std::{
    future::Future,
    time::{Duration, Instant},
};

use messenger_core::{
    Timestamp,
    context::Context,
    ports::{
        AskUnread, ClaimUnread, ClaimedChat, Content, JobPriority, NewJob, Notified, PendingChat,
        PendingMember, Store, Told,
    },
};

use super::{BODY, Options, Result};
use crate::{ServerCpu, cpu::cpu_of_this_process};

/// Members of each chat, and chats of each person.
const MEMBERS: usize = 10;
/// Messages of each chat. In those that are due one member has read two of them, and in all others everybody has read all.
const MESSAGES: usize = 5;
/// Members of one group more, and its messages, of which nobody but their sender has read any.
const CROWD: usize = 1_000;
/// Chats of a claim, members of a page, and chats that a person is told of, at most.
const PAGE: usize = 100;
/// Later than all messages.
const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000_000);

/// Chats and people, of which some are due, and what a worker's pass over them takes.
#[derive(Debug, Clone, Copy)]
pub struct Unread {
    chats: usize,
    due: usize,
}

/// How an engine spells what the others spell otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Spelling {
    /// What stands before the names of tables.
    pub schema: &'static str,
    /// The id of this number: 16 bytes that rise with it.
    pub id: fn(&str) -> String,
    /// The numbers from 1 to this one, as a table of this name with a column `n`.
    pub series: fn(usize, &str) -> String,
    /// The bytes of this text.
    pub bytes: fn(&str) -> String,
    /// A column more of a chat and its value, each after a comma.
    pub of_chat: [&'static str; 2],
    /// A column more of a message and its value, each after a comma.
    pub of_message: [&'static str; 2],
}

impl Unread {
    /// As many as the command line asks for.
    pub fn of(options: &Options) -> Self {
        let memberships = options.number("--memberships").unwrap_or(1_000_000);
        Self { chats: memberships / MEMBERS, due: options.number("--due").unwrap_or(10_000) }
    }

    /// The statements that fill an empty store.
    pub fn fill(&self, spelling: &Spelling) -> Vec<String> {
        let mut statements = self.many(spelling).to_vec();
        statements.extend(self.crowd(spelling));
        statements
    }

    fn many(&self, spelling: &Spelling) -> [String; 4] {
        let Self { chats, due } = *self;
        let Spelling { schema, id, series, bytes, of_chat, of_message } = *spelling;
        let (chat, every) = (id(&format!("({chats} + c.n)")), chats / due);
        // Two people share one chat at most, so their rows lie far from each other.
        let member = |nth: &str| id(&format!("(1 + (c.n + {nth} * {}) % {chats})", chats / MEMBERS + 7));
        let is_due = format!("c.n % {every} = 0 AND c.n / {every} <= {due}");
        let read = format!("CASE WHEN m.n = {MEMBERS} AND {is_due} THEN 2 ELSE {MESSAGES} END");
        let (all, each) = (series(chats, "c"), series(MESSAGES, "m"));
        [
            format!(
                "INSERT INTO {schema}messenger_users (id, username, display_name, notify_email, created_at, version,
                    memberships, last_seen_at)
                SELECT {}, CONCAT('person', c.n), 'Somebody', '1', 1, 1, {MEMBERS}, c.n FROM {all}",
                id("c.n")
            ),
            format!(
                "INSERT INTO {schema}messenger_chats (id, kind, created_at, activity_at, revision, last_seq, texts,
                    member_count, roster_version, unread_since, unread_seq{})
                SELECT {chat}, 1, c.n, c.n, {MESSAGES}, {MESSAGES}, {MESSAGES}, {MEMBERS}, 1,
                    CASE WHEN {is_due} THEN c.n END, CASE WHEN {is_due} THEN 3 END{} FROM {all}",
                of_chat[0], of_chat[1]
            ),
            format!(
                "INSERT INTO {schema}messenger_members (chat_id, user_id, role, joined_at, join_order, read_seq,
                    read_texts, delivered_seq)
                SELECT {chat}, {}, 0, 1, m.n, {read}, {read}, {MESSAGES} FROM {all} CROSS JOIN {}",
                member("m.n"),
                series(MEMBERS, "m")
            ),
            format!(
                "INSERT INTO {schema}messenger_messages (id, chat_id, seq, sender_id, kind, created_revision, revision,
                    texts, created_at, body{})
                SELECT {}, {chat}, m.n, {}, 0, m.n, m.n, m.n, c.n + m.n, {}{} FROM {all} CROSS JOIN {each}",
                of_message[0],
                id(&format!("(2 * {chats} + {MESSAGES} * c.n + m.n)")),
                member("1"),
                bytes(BODY),
                of_message[1]
            ),
        ]
    }

    /// Of people who are in no other chat.
    fn crowd(&self, spelling: &Spelling) -> [String; 4] {
        let Spelling { schema, id, series, bytes, of_chat, of_message } = *spelling;
        let free = 8 * self.chats;
        let (person, chat) = (id(&format!("({free} + m.n)")), id(&format!("({free} + 2 * {CROWD} + a.n)")));
        let (one, all) = (series(1, "a"), series(CROWD, "m"));
        [
            format!(
                "INSERT INTO {schema}messenger_users (id, username, display_name, notify_email, created_at, version,
                    memberships)
                SELECT {person}, CONCAT('crowd', m.n), 'Somebody', '1', 1, 1, 1 FROM {all}"
            ),
            format!(
                "INSERT INTO {schema}messenger_chats (id, kind, created_at, activity_at, revision, last_seq, texts,
                    member_count, roster_version, unread_since, unread_seq{})
                SELECT {chat}, 1, 1, 1, {CROWD}, {CROWD}, {CROWD}, {CROWD}, 1, {now}, 1{} FROM {one}",
                of_chat[0],
                of_chat[1],
                now = NOW.as_micros()
            ),
            format!(
                "INSERT INTO {schema}messenger_members (chat_id, user_id, role, joined_at, join_order, read_seq,
                    read_texts, delivered_seq)
                SELECT {chat}, {person}, 0, 1, m.n, {read}, {read}, {read} FROM {one} CROSS JOIN {all}",
                read = format_args!("CASE WHEN m.n = 1 THEN {CROWD} ELSE 0 END")
            ),
            format!(
                "INSERT INTO {schema}messenger_messages (id, chat_id, seq, sender_id, kind, created_revision, revision,
                    texts, created_at, body{})
                SELECT {}, {chat}, m.n, {}, 0, m.n, m.n, m.n, m.n, {}{} FROM {one} CROSS JOIN {all}",
                of_message[0],
                id(&format!("({free} + 3 * {CROWD} + m.n)")),
                id(&format!("({free} + a.n)")),
                bytes(BODY),
                of_message[1]
            ),
        ]
    }

    /// Makes one pass over all that is due, and prints what each of its steps takes; with the CPU time of this server if it
    /// is given.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn measure(&self, store: &dyn Store, cpu: Option<ServerCpu>) -> Result {
        let mut meter = Meter { cpu, steps: vec![] };
        let before = NOW.before(Duration::from_micros(1));
        let (mut looked_at, mut told) = (0, 0);
        loop {
            let claimed = claim(store, &mut meter, before).await?;
            let people = members(store, &mut meter, &claimed).await?;
            tell(store, &mut meter, &people).await?;
            finish(store, &mut meter, &claimed).await?;
            (looked_at, told) = (looked_at + claimed.len(), told + people.len());
            if claimed.len() < PAGE {
                break;
            }
        }
        assert_eq!((looked_at, told), (self.due, self.due));
        meter.print(&format!("{} memberships, {} chats due", self.chats * MEMBERS, self.due));

        meter.steps.clear();
        let claimed = claim(store, &mut meter, NOW).await?;
        assert_eq!(members(store, &mut meter, &claimed).await?.len(), CROWD - 1);
        meter.print(&format!("A group of {CROWD}, of {CROWD} messages"));
        Ok(())
    }
}

async fn claim(store: &dyn Store, meter: &mut Meter, due: Timestamp) -> Result<Vec<ClaimedChat>> {
    let claim = ClaimUnread { due, now: NOW, until: NOW.after(Duration::from_secs(600)) };
    meter.begin("claim_unread_chats");
    let claimed = meter.time(store.claim_unread_chats(&claim, PAGE)).await?;
    meter.end();
    Ok(claimed)
}

async fn finish(store: &dyn Store, meter: &mut Meter, claimed: &[ClaimedChat]) -> Result {
    meter.begin("finish_unread_chat");
    for chat in claimed {
        assert!(meter.time(store.finish_unread_chat(chat, NOW)).await?);
    }
    meter.end();
    Ok(())
}

async fn members(
    store: &dyn Store,
    meter: &mut Meter,
    claimed: &[ClaimedChat],
) -> Result<Vec<PendingMember>> {
    let mut all = vec![];
    meter.begin("unread_members");
    for chat in claimed {
        let (asked, mut after) = (AskUnread { chat: chat.chat, due: NOW, now: NOW }, None);
        loop {
            let page = meter.time(store.unread_members(&asked, after, PAGE)).await?;
            all.extend_from_slice(&page);
            if page.len() < PAGE {
                break;
            }
            after = page.last().map(|member| member.user);
        }
    }
    meter.end();
    Ok(all)
}

async fn tell(store: &dyn Store, meter: &mut Meter, people: &[PendingMember]) -> Result {
    let (context, mut chats) = (Context::system(), Vec::with_capacity(people.len()));
    meter.begin("unread_chats");
    for person in people {
        chats.push(meter.time(store.unread_chats(person.user, NOW, NOW, PAGE)).await?);
    }
    meter.end();
    meter.begin("record_notified");
    for (person, chats) in people.iter().zip(chats) {
        let notified = Notified {
            user: person.user,
            expected: person.mail.told.map(|told| told.at),
            told: Told { at: NOW, since: NOW, times: 1 },
            ranges: chats.iter().map(PendingChat::range).collect(),
            jobs: vec![job(&context)?],
        };
        assert!(!notified.ranges.is_empty());
        assert!(meter.time(store.record_notified(&notified)).await?);
    }
    meter.end();
    Ok(())
}

fn job(context: &Context) -> Result<NewJob> {
    Ok(NewJob {
        id: context.id(),
        kind: "mail".parse()?,
        payload: Content::from(BODY),
        priority: JobPriority::Normal,
        run_at: NOW,
        max_attempts: 10,
        unique: None,
        after: None,
        created_at: NOW,
    })
}

/// Times the calls of each step.
#[derive(Debug)]
struct Meter {
    cpu: Option<ServerCpu>,
    /// The one at work is the last.
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: &'static str,
    calls: Vec<Duration>,
    /// CPU of the server and of this process; since the begin, what had been used then.
    cpu: [Duration; 2],
    began: [Duration; 2],
}

impl Meter {
    fn used(&mut self) -> [Duration; 2] {
        [self.cpu.as_mut().map(ServerCpu::used).unwrap_or_default(), cpu_of_this_process()]
    }

    fn begin(&mut self, name: &'static str) {
        let began = self.used();
        let known = self.steps.iter().position(|step| step.name == name);
        let step = known.map(|known| self.steps.remove(known));
        let step = step.unwrap_or(Step { name, calls: vec![], cpu: [Duration::ZERO; 2], began });
        self.steps.push(Step { began, ..step });
    }

    async fn time<T>(&mut self, call: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let answer = call.await;
        if let Some(step) = self.steps.last_mut() {
            step.calls.push(began.elapsed());
        }
        answer
    }

    fn end(&mut self) {
        let used = self.used();
        if let Some(step) = self.steps.last_mut() {
            step.cpu = [0, 1].map(|of| step.cpu[of] + used[of].saturating_sub(step.began[of]));
        }
    }

    fn print(&mut self, title: &str) {
        println!("\n{title}\n");
        println!(
            "| | calls | in all, s | a call, µs: median | p99 | longest | CPU of the server | own CPU |"
        );
        println!("|---|--:|--:|--:|--:|--:|--:|--:|");
        for Step { name, calls, cpu, .. } in &mut self.steps {
            calls.sort_unstable();
            let at = |share: usize| calls[(calls.len() - 1) * share / 100].as_micros();
            let of_a_call = |time: Duration| time.as_secs_f64() * 1e6 / calls.len() as f64;
            println!(
                "| `{name}` | {} | {:.2} | {} | {} | {} | {:.0} | {:.0} |",
                calls.len(),
                calls.iter().sum::<Duration>().as_secs_f64(),
                at(50),
                at(99),
                at(100),
                of_a_call(cpu[0]),
                of_a_call(cpu[1])
            );
        }
    }
}
