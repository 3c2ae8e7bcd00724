//! What the bus says in a notification of PostgreSQL: ids and numbers, and nothing of what people write.
//!
//! A text of a first line, `VERSION NODE ORDINAL`, and a line for each message, as [`BusMessage::to_bytes`] has it. The node is
//! in hexadecimal digits. The ordinal keeps PostgreSQL from taking two notifications of one call for the same.

use std::{collections::HashSet, str::Lines, sync::Arc};

use messenger_core::{
    Event,
    ports::{BusMessage, Hint, NodeId, Topic},
};

/// Longest text of a notification, in bytes; PostgreSQL takes less than 8,000.
const MOST: usize = 4000;
/// Longest line of a message. Of a longer one only the topics are told.
const LINE: usize = MOST / 2;
/// Topics of one line, of 47 bytes each.
const TOPICS: usize = 40;
/// The version of the first line and of what follows it.
const VERSION: &str = "1";

/// The notifications that tell of these messages.
pub(super) fn written(from: NodeId, messages: &[BusMessage]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut text = String::new();
    let mut looked_up = HashSet::new();
    for message in messages {
        for line in lines(message, &mut looked_up) {
            if text.is_empty() || text.len() + 1 + line.len() > MOST {
                texts.extend(Some(std::mem::take(&mut text)).filter(|text| !text.is_empty()));
                text = format!("{VERSION} {:x} {}", from.0, texts.len());
            }
            text.push('\n');
            text.push_str(&line);
        }
    }
    texts.extend(Some(text).filter(|text| !text.is_empty()));
    texts
}

/// A message as it is told. `looked_up` has the topics that are to be looked up already: who looks into the store after the first
/// time finds what later messages of the same call are about, too.
fn lines(message: &BusMessage, looked_up: &mut HashSet<Vec<Topic>>) -> Vec<String> {
    if is_of_numbers(&message.hint) && message.topics.len() <= TOPICS {
        let line = line(message);
        if line.len() <= LINE {
            return vec![line];
        }
    }
    if !looked_up.insert(message.topics.clone()) {
        return vec![];
    }
    let invalidate =
        |topics: &[_]| BusMessage { topics: topics.to_vec(), hint: Arc::new(Hint::Invalidate {}) };
    message.topics.chunks(TOPICS).map(|topics| line(&invalidate(topics))).collect()
}

/// Whether the hint has nothing in it but ids and numbers, and can't be looked up or is not worth it. Of what a later release adds
/// nothing is told but the topics.
fn is_of_numbers(hint: &Hint) -> bool {
    match hint {
        Hint::Added { .. } | Hint::SessionsEnded { .. } => true,
        Hint::Event(event) => matches!(
            event,
            Event::ReadMoved(_) | Event::DeliveredMoved(_) | Event::Typing(_) | Event::PresenceChanged(_)
        ),
        Hint::Sealed(_) | Hint::Invalidate {} => false,
    }
}

fn line(message: &BusMessage) -> String {
    // JSON is UTF-8, and has no line break in it.
    String::from_utf8(message.to_bytes()).unwrap_or_default()
}

/// What a notification says.
#[derive(Debug)]
pub(super) enum Heard<'t> {
    /// Messages of another node, one a line.
    Messages(Lines<'t>),
    /// What this node has said itself.
    Own,
    /// It is of a later release, or of somebody else.
    Unknown,
}

/// Reads a notification that `node` has heard.
pub(super) fn read(node: NodeId, text: &str) -> Heard<'_> {
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    if words.next() != Some(VERSION) {
        return Heard::Unknown;
    }
    match words.next().map(|word| u64::from_str_radix(word, 16)) {
        Some(Ok(from)) if from == node.0 => Heard::Own,
        Some(Ok(_)) => Heard::Messages(lines),
        _ => Heard::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use messenger_core::{Id, Revision};

    use super::*;

    const HERE: NodeId = NodeId(u64::MAX);

    fn about(topics: Vec<Topic>, hint: Hint) -> BusMessage {
        BusMessage { topics, hint: Arc::new(hint) }
    }

    fn invalidation(topics: Vec<Topic>) -> BusMessage {
        about(topics, Hint::Invalidate {})
    }

    /// What another node reads of these notifications.
    fn told(texts: &[String]) -> Vec<BusMessage> {
        let lines = texts.iter().flat_map(|text| match read(NodeId(1), text) {
            Heard::Messages(lines) => lines,
            heard => panic!("{heard:?}"),
        });
        lines.map(|line| BusMessage::from_bytes(line.as_bytes()).unwrap()).collect()
    }

    fn id<K>(number: u16) -> Id<K> {
        let [high, low] = number.to_be_bytes();
        Id::from_bytes([high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    fn event(chat: u16, event: &str) -> BusMessage {
        let (chat, user) = (id::<messenger_core::Chat>(chat), id::<messenger_core::User>(2));
        let text = format!(
            r#"{{"v":1,"topics":[{{"chat":"{chat}"}}],"hint":{{"event":{}}}}}"#,
            event
                .replace("CHAT", &format!(r#""chatId":"{chat}""#))
                .replace("USER", &format!(r#""userId":"{user}""#))
        );
        let message = BusMessage::from_bytes(text.as_bytes()).unwrap();
        assert_ne!(*message.hint, Hint::Invalidate {}, "{text}");
        message
    }

    fn removed(chat: u16) -> BusMessage {
        event(chat, r#"{"event":"chatRemoved","payload":{CHAT}}"#)
    }

    #[test]
    fn ids_and_numbers_are_told_and_all_else_is_looked_up() {
        let as_they_are = [
            event(1, r#"{"event":"readMoved","payload":{CHAT,USER,"seq":7}}"#),
            event(1, r#"{"event":"deliveredMoved","payload":{CHAT,USER,"seq":7}}"#),
            event(1, r#"{"event":"typing","payload":{CHAT,USER,"typing":true,"expiresInMs":6000}}"#),
            event(1, r#"{"event":"presenceChanged","payload":{USER,"online":true}}"#),
            about(
                vec![Topic::User(id(3))],
                Hint::Added { chat: id(1), revision: Revision::new(4), users: vec![id(3)] },
            ),
            about(vec![Topic::User(id(3))], Hint::SessionsEnded { user: id(3), sessions: vec![id(4)] }),
            invalidation(vec![Topic::Nodes]),
        ];
        assert_eq!(told(&written(HERE, &as_they_are)), as_they_are);
        let texts = written(HERE, &[removed(1)]);
        assert_eq!(told(&texts), [invalidation(vec![Topic::Chat(id(1))])]);
        assert!(!texts[0].contains("chatRemoved"));
    }

    #[test]
    fn what_is_to_be_looked_up_anyway_is_not_told_again_in_one_call() {
        let ended = about(vec![Topic::Chat(id(1))], Hint::SessionsEnded { user: id(3), sessions: vec![] });
        let [one, two] = [1, 2].map(|chat| invalidation(vec![Topic::Chat(id(chat))]));
        let messages = [removed(1), ended.clone(), removed(2), removed(1), one.clone(), ended.clone()];
        assert_eq!(told(&written(HERE, &messages)), [one, ended.clone(), two, ended]);
    }

    #[test]
    fn many_messages_are_few_notifications_and_each_is_short() {
        let messages: Vec<_> = (0..1000).map(removed).collect();
        let texts = written(HERE, &messages);
        let topics: Vec<_> = told(&texts).into_iter().flat_map(|message| message.topics).collect();
        assert_eq!(topics, (0..1000).map(|chat| Topic::Chat(id(chat))).collect::<Vec<_>>());
        assert!(texts.iter().all(|text| text.len() <= MOST) && texts.len() < 30, "{}", texts.len());
        let distinct: HashSet<_> = texts.iter().collect();
        assert_eq!(distinct.len(), texts.len());
        assert!(written(HERE, &[]).is_empty());
    }

    #[test]
    fn of_what_is_long_only_the_topics_are_told_and_of_many_topics_some_at_a_time() {
        let users: Vec<_> = (0..1000).map(id).collect();
        let topics: Vec<_> = users.iter().copied().map(Topic::User).collect();
        let one = vec![Topic::Chat(id(1))];
        let hint = || Hint::Added { chat: id(1), revision: Revision::new(4), users: users.clone() };
        assert_eq!(told(&written(HERE, &[about(one.clone(), hint())])), [invalidation(one)]);
        let texts = written(HERE, &[about(topics.clone(), hint())]);
        assert!(texts.iter().all(|text| text.len() <= MOST));
        let told = told(&texts);
        assert!(told.iter().all(|message| *message.hint == Hint::Invalidate {}));
        assert_eq!(told.into_iter().flat_map(|message| message.topics).collect::<Vec<_>>(), topics);
    }

    #[test]
    fn what_others_say_is_told_apart() {
        let texts = written(HERE, &[removed(1)]);
        assert!(matches!(read(HERE, &texts[0]), Heard::Own));
        for text in ["", "hello", "1", "1 x 0", "1 -1 0", "2 1 0\n{}"] {
            assert!(matches!(read(HERE, text), Heard::Unknown), "{text}");
        }
    }
}
