//! The truth table of docs/notifications.md, with every combination of what it names.

use std::time::Duration;

use super::scene::{MINUTE, Scene, settings};
use crate::{
    commands::*,
    domain::{Message, NotifyLevel, QuietHours, Seq},
    notify::deciding::{self, Verdict},
    ports::{
        ChatStore as _, MailOutcome, Notified, UnreadRange, UnreadStore as _, UpdateUser, UserStore as _,
    },
};

const READERS: [&str; 4] = ["away", "online", "idle device", "just left"];
const MESSAGES: [&str; 6] = ["unread", "edited", "read", "deleted", "own", "recent"];
const STATES: [&str; 9] = [
    "wanted",
    "muted",
    "not wanted",
    "left",
    "erased",
    "mail off",
    "address refused",
    "quiet hours",
    "mute ended",
];
const BEFORE: [&str; 4] = ["no", "of it", "of something else a moment ago", "of the chat, and has not read"];

/// A row: what it is about, in each column a name, several with commas between them, or `any`; and what follows.
struct Row {
    of: [String; 4],
    told: String,
}

/// The rows, of which the first one that fits counts.
fn rows() -> Vec<Row> {
    let docs = include_str!("../../../../docs/notifications.md");
    let (_, table) = docs.split_once("| reader | message | chat or person | told before | mail |").unwrap();
    let rows: Vec<Row> = table.lines().skip(2).map_while(row).collect();
    assert!(rows.len() > 10, "{}", rows.len());
    rows
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<String> =
        line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(|c| c.trim().to_owned()).collect();
    let [reader, message, state, before, told] = cells.try_into().ok()?;
    Some(Row { of: [reader, message, state, before], told })
}

impl Row {
    fn fits(&self, case: [&str; 4]) -> bool {
        let names = |cell: &str, name: &str| cell == "any" || cell.split("; ").any(|one| one.trim() == name);
        self.of.iter().zip(case).all(|(cell, name)| names(cell, name))
    }
}

#[test]
fn the_table_names_nothing_that_there_is_not() {
    for row in rows() {
        let known = [&READERS[..], &MESSAGES, &STATES, &BEFORE];
        for (cell, known) in row.of.iter().zip(known) {
            let is_known = |name: &str| name == "any" || known.contains(&name);
            assert!(cell.split("; ").all(is_known), "{cell}");
        }
    }
}

#[tokio::test]
async fn every_combination_is_as_the_table_says() {
    let rows = rows();
    let mut used = vec![0; rows.len()];
    let mut wrong = Vec::new();
    for reader in READERS {
        for message in MESSAGES {
            for state in STATES {
                for before in BEFORE {
                    let case = [reader, message, state, before];
                    let found = rows.iter().position(|row| row.fits(case));
                    let Some(found) = found else { panic!("no row is about {case:?}") };
                    used[found] += 1;
                    let (is_told, why) = outcome(case).await;
                    let said = if is_told { "yes".to_owned() } else { format!("no: {why}") };
                    if said != rows[found].told {
                        wrong.push(format!("{case:?}: {said}, not {}", rows[found].told));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    for (row, times) in rows.iter().zip(used) {
        assert!(times > 0, "no case for the row of {:?}", row.of);
    }
}

/// Brings it about, and tells whether there was mail, and otherwise why not.
async fn outcome([reader, message, state, before]: [&str; 4]) -> (bool, &'static str) {
    let mut settings = settings();
    if state == "quiet hours" {
        // The scene is at midnight.
        settings.quiet_hours = Some(QuietHours::new(23 * 60, 6 * 60).unwrap());
    }
    let scene = Scene::with(settings).await;
    // A device that is idle is no less connected than one in use.
    let device = if reader == "away" { None } else { Some(scene.connects().await) };
    if before == "of the chat, and has not read" {
        is_told_three_times(&scene).await;
    }
    let subject = write(&scene, message).await;
    // Nobody is told of what they wrote themselves.
    if before == "of it" && message != "own" {
        is_told_of(&scene, &subject).await;
    }
    let age = if message == "recent" { 4 * MINUTE } else { 6 * MINUTE };
    match (reader, device) {
        ("just left", Some(device)) => {
            scene.clock.advance(age - 2 * MINUTE);
            scene.goes(device).await;
            scene.clock.advance(2 * MINUTE);
        }
        _ => scene.clock.advance(age),
    }
    if before == "of something else a moment ago" {
        is_told_elsewhere(&scene, MINUTE).await;
    }
    change(&scene, message, &subject).await;
    bring_into(&scene, state).await;
    scene.settles().await;
    match scene.told().iter().filter(|told| told.to.user == scene.reader()).count() {
        0 => {}
        1 => return (true, ""),
        more => panic!("{more} notifications"),
    }
    let reason = match scene.decide().await {
        Verdict::Tell => "",
        Verdict::Wait(_, reason) | Verdict::Nothing(reason) => reason.name(),
    };
    (false, reason)
}

async fn write(scene: &Scene, message: &str) -> Message {
    let author = if message == "own" { &scene.ada } else { &scene.bob };
    scene.says(author, scene.tea, "hello").await
}

/// What becomes of the message after it was written.
async fn change(scene: &Scene, message: &str, subject: &Message) {
    let (chat_id, message_id) = (subject.chat_id, subject.id);
    match message {
        "edited" => {
            scene.must(&scene.bob, EditMessage { chat_id, message_id, body: "hi".into() }).await;
        }
        "deleted" => {
            scene.must(&scene.bob, DeleteMessage { chat_id, message_id }).await;
        }
        "read" => scene.reads(subject).await,
        _ => {}
    }
}

async fn bring_into(scene: &Scene, state: &str) {
    let (ada, tea, now) = (&scene.ada, scene.tea, scene.now());
    match state {
        "muted" => scene.store.set_mute(tea, scene.reader(), Some(now.after(MINUTE))).await.unwrap(),
        "mute ended" => scene.store.set_mute(tea, scene.reader(), Some(now.before(MINUTE))).await.unwrap(),
        "not wanted" => scene.store.set_notify_level(tea, scene.reader(), NotifyLevel::None).await.unwrap(),
        "left" => {
            scene.must(ada, LeaveChat { chat_id: tea }).await;
        }
        "erased" => scene.erases_account().await,
        "mail off" => {
            let version = scene.store.user(scene.reader()).await.unwrap().version;
            let off = UpdateUser { notify_email: Some(false), ..UpdateUser::of(scene.reader(), version) };
            scene.store.update_user(off).await.unwrap();
        }
        "address refused" => {
            let key = scene.store.user(scene.reader()).await.unwrap().email.unwrap().key;
            scene
                .store
                .note_mail(scene.reader(), &key, MailOutcome::Refused { at: now, most: 1 })
                .await
                .unwrap();
        }
        _ => {}
    }
}

async fn is_told_three_times(scene: &Scene) {
    for body in ["first", "second", "third"] {
        let message = scene.message(body).await;
        is_told_of(scene, &message).await;
        scene.clock.advance(4 * MINUTE);
    }
}

/// Ada is told of everything up to this message.
async fn is_told_of(scene: &Scene, message: &Message) {
    let pending = scene.store.unread_chats(scene.reader(), scene.now(), scene.now(), 10).await.unwrap();
    let after = pending.first().map_or(Seq::new(message.seq.get() - 1), |chat| chat.after);
    let range = UnreadRange { chat: message.chat_id, after, up_to: message.seq };
    record(scene, vec![range], Duration::ZERO).await;
}

/// Ada was told of another chat that long ago.
async fn is_told_elsewhere(scene: &Scene, ago: Duration) {
    record(scene, vec![], ago).await;
}

async fn record(scene: &Scene, ranges: Vec<UnreadRange>, ago: Duration) {
    let account = scene.store.user(scene.reader()).await.unwrap();
    let notified = Notified {
        user: account.id,
        expected: account.mail.told.map(|told| told.at),
        told: deciding::told(account.mail.told, scene.now().before(ago)),
        ranges,
        jobs: vec![],
    };
    assert!(scene.store.record_notified(&notified).await.unwrap());
}
