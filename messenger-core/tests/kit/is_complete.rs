//! Each point of a `# Behavior` list of the ports is a case of the kit, and each case is such a point.

use std::collections::BTreeSet;

#[test]
fn every_point_of_a_behavior_list_is_a_case() {
    let ports = [
        include_str!("../../src/ports/store.rs"),
        include_str!("../../src/ports/users.rs"),
        include_str!("../../src/ports/sessions.rs"),
        include_str!("../../src/ports/chats.rs"),
        include_str!("../../src/ports/messages.rs"),
        include_str!("../../src/ports/markers.rs"),
        include_str!("../../src/ports/unread.rs"),
        include_str!("../../src/ports/jobs.rs"),
        include_str!("../../src/ports/schedules.rs"),
        include_str!("../../src/ports/keys.rs"),
        include_str!("../../src/ports/contents.rs"),
        include_str!("../../src/ports/retention.rs"),
        include_str!("../../src/ports/presence.rs"),
        include_str!("../../src/ports/bus.rs"),
    ];
    let promised: BTreeSet<_> = ports.iter().flat_map(|port| port.lines()).filter_map(point).collect();
    let listed: BTreeSet<_> = include_str!("../../src/testkit/list.rs").lines().filter_map(case).collect();
    assert!(promised.len() > 90, "the lists are found");
    let unkept: Vec<_> = promised.difference(&listed).collect();
    assert!(unkept.is_empty(), "points without a case: {unkept:?}");
    let unfounded: Vec<_> = listed.difference(&promised).collect();
    assert!(unfounded.is_empty(), "cases that no port promises: {unfounded:?}");
}

/// ``/// - `name`: more words``
fn point(line: &str) -> Option<&str> {
    line.trim().strip_prefix("/// - `")?.split('`').next()
}

/// A line that is nothing but a name of several words.
fn case(line: &str) -> Option<&str> {
    let line = line.trim();
    let is_name =
        line.contains('_') && line.bytes().all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit());
    is_name.then_some(line)
}
