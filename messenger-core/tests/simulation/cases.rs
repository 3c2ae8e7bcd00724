//! Histories that went wrong once, or whose outcome is worth writing down.
//!
//! Person 0 is Ada, who has devices 0, 2, …; person 1 is Bob, who has devices 1, 3, ….

use std::time::Duration;

use crate::{
    plan::{Action, Action::*, How, Setup, Step, Trouble},
    promise::Promise,
    run::{self, Outcome},
};

/// A sweep comes every ten seconds: what is told sooner was not found by one.
const BEFORE_A_SWEEP: f64 = 3.5;

fn setup(nodes: usize) -> Setup {
    // Everything is asked of the last node, so that the others hear of it over the bus.
    let asked = Some(nodes - 1);
    Setup {
        nodes,
        people: 2,
        devices: 4,
        mailbox: 512,
        catch_up: 200,
        ephemeral_members: 100,
        trouble: Trouble::All,
        promise: Promise::Hint,
        asked,
        sealed: false,
    }
}

/// Plays the actions, each so many milliseconds after the one before, and fails if anything is told that should not be.
fn play(setup: &Setup, actions: &[(u64, Action)]) -> Outcome {
    let step = |(after, action): &(u64, Action)| Step {
        after: Duration::from_millis(*after),
        action: action.clone(),
    };
    let mut steps: Vec<Step> = actions.iter().map(step).collect();
    // What goes wrong goes on going wrong for longer than from one sweep to the next.
    steps.push(Step { after: Duration::from_secs(12), action: Nothing });
    let outcome = run::run(0, setup, &steps);
    let log = outcome.record.lines().join("\n");
    assert_eq!(outcome.violation, None, "{log}");
    outcome
}

/// What a device was told of chats, in order.
fn told(outcome: &Outcome, device: usize) -> Vec<String> {
    let told = outcome.told_to(device).into_iter().map(|(_, what)| what);
    told.filter(|what| !what.starts_with("presenceChanged")).collect()
}

/// When a device was told this; it fails if it never was.
fn when(outcome: &Outcome, device: usize, what: &str) -> f64 {
    let told = outcome.told_to(device);
    let found = told.iter().find(|(_, told)| told == what);
    found.unwrap_or_else(|| panic!("{what} in {told:?}:\n{}", outcome.record.lines().join("\n"))).0
}

fn group(with: &[usize]) -> Action {
    Group { by: 0, with: with.to_vec() }
}

fn add_bob() -> Action {
    Add { by: 0, chat: 0, whom: vec![1] }
}

fn remove_bob() -> Action {
    Remove { by: 0, chat: 0, whom: 1 }
}

fn send() -> Action {
    Send { by: 0, chat: 0, times: 1 }
}

#[test]
fn who_is_added_while_the_node_lags_is_told_of_every_change() {
    let outcome = play(
        &setup(2),
        &[
            (0, group(&[])),
            (100, Connect { device: 0, node: 0, how: How::All }),
            (100, Connect { device: 1, node: 0, how: How::Later }),
            (100, LoseOnBus { node: 0, messages: 100 }),
            (0, add_bob()),
            (100, send()),
            // Told from the store, while the room knows nothing of it.
            (100, Resume { device: 1, how: How::Nothing }),
            (100, send()),
            (12_000, LoseOnBus { node: 0, messages: 0 }),
            (0, send()),
        ],
    );
    let expected = ["chatAdded #0 at 3", "caughtUp", "messageCreated #0 4", "messageCreated #0 5"];
    assert_eq!(told(&outcome, 1), expected);
}

#[test]
fn who_is_taken_out_and_in_while_the_node_lags_is_told_both() {
    let outcome = play(
        &setup(2),
        &[
            (0, group(&[1])),
            (100, Connect { device: 1, node: 0, how: How::All }),
            (100, LoseOnBus { node: 0, messages: 100 }),
            (0, send()),
            (100, remove_bob()),
            (100, send()),
            (100, add_bob()),
            (100, send()),
        ],
    );
    let expected = ["caughtUp", "messageCreated #0 2", "chatRemoved #0", "chatAdded #0 at 6"];
    assert_eq!(told(&outcome, 1), expected);
}

#[test]
fn every_device_is_told_of_a_chat_whichever_came_first() {
    // The answer is lost, and the repetition adds nobody any more.
    let outcome = play(
        &setup(1),
        &[
            (0, group(&[])),
            (100, Connect { device: 1, node: 0, how: How::Nothing }),
            (100, LoseAnswers { node: 0, writes: 1 }),
            (0, add_bob()),
            (5000, Connect { device: 3, node: 0, how: How::Nothing }),
        ],
    );
    assert!(when(&outcome, 1, "chatAdded #0 at 2") < BEFORE_A_SWEEP);
    assert_eq!(told(&outcome, 1), ["caughtUp", "chatAdded #0 at 2"]);
    assert_eq!(told(&outcome, 3), ["chatAdded #0 at 2", "caughtUp"]);
}

#[test]
fn the_older_device_is_found_to_lack_a_chat_when_nobody_hears_of_it() {
    let outcome = play(
        &setup(2),
        &[
            (0, group(&[])),
            (100, Connect { device: 1, node: 0, how: How::Nothing }),
            (100, LoseOnBus { node: 0, messages: 100 }),
            (0, add_bob()),
            (1000, Connect { device: 3, node: 0, how: How::Nothing }),
        ],
    );
    assert_eq!(told(&outcome, 1), ["caughtUp", "chatAdded #0 at 2"]);
    assert_eq!(told(&outcome, 3), ["chatAdded #0 at 2", "caughtUp"]);
}

#[test]
fn who_was_told_of_a_chat_by_a_resume_is_told_of_its_end() {
    let outcome = play(
        &setup(2),
        &[
            (0, group(&[])),
            (100, Connect { device: 1, node: 0, how: How::Later }),
            (100, LoseOnBus { node: 0, messages: 100 }),
            (0, add_bob()),
            (100, Resume { device: 1, how: How::Nothing }),
            (100, remove_bob()),
        ],
    );
    assert_eq!(told(&outcome, 1), ["chatAdded #0 at 2", "caughtUp", "chatRemoved #0"]);
}

#[test]
fn a_message_is_new_once_to_who_resumes_ahead_of_the_room() {
    let outcome = play(
        &setup(2),
        &[
            (0, group(&[1])),
            (100, Connect { device: 0, node: 0, how: How::All }),
            (100, LoseOnBus { node: 0, messages: 100 }),
            (0, Connect { device: 1, node: 1, how: How::All }),
            (100, send()),
            (100, Connect { device: 1, node: 0, how: How::All }),
            (100, Edit { by: 0, chat: 0 }),
        ],
    );
    assert_eq!(told(&outcome, 1), ["caughtUp", "messageCreated #0 2", "caughtUp", "messageEdited #0 3"]);
    assert_eq!(told(&outcome, 0), ["caughtUp", "messageCreated #0 3"]);
}

#[test]
fn what_is_stored_is_told_at_once_though_the_answer_was_lost() {
    let bob_is_in = [(0, group(&[1])), (100, send())];
    let bob_is_not = [(0, group(&[])), (100, send())];
    let cases = [
        (&bob_is_in, send(), "messageCreated #0 3"),
        (&bob_is_in, Edit { by: 0, chat: 0 }, "messageEdited #0 3"),
        (&bob_is_in, Delete { by: 0, chat: 0 }, "messageDeleted #0 3"),
        (&bob_is_in, Rename { by: 0, chat: 0 }, "chatUpdated #0 3"),
        (&bob_is_in, remove_bob(), "chatRemoved #0"),
        (&bob_is_not, add_bob(), "chatAdded #0 at 3"),
        (&bob_is_not, group(&[1]), "chatAdded #1 at 1"),
        (&bob_is_not, Direct { by: 0, with: 1 }, "chatAdded #1 at 0"),
    ];
    for nodes in [1, 2] {
        for (before, action, expected) in &cases {
            let mut actions = before.to_vec();
            actions.push((200, Connect { device: 1, node: 0, how: How::All }));
            // The sweep after this one is far away.
            actions.push((10_000, LoseAnswers { node: nodes - 1, writes: 1 }));
            actions.push((0, action.clone()));
            let outcome = play(&setup(nodes), &actions);
            let after = when(&outcome, 1, expected) - 10.3;
            assert!(after < BEFORE_A_SWEEP, "{expected} after {after} s on {nodes} nodes");
        }
    }
}

#[test]
fn nothing_of_a_chat_is_told_after_its_end() {
    for aside in
        [Type { by: 0, chat: 0 }, Mark { by: 0, chat: 0, read: true }, Mark { by: 0, chat: 0, read: false }]
    {
        let outcome = play(
            &setup(2),
            &[
                (0, group(&[1])),
                (100, Connect { device: 1, node: 0, how: How::All }),
                (100, Connect { device: 1, node: 0, how: How::Later }),
                // The room does not hear that he has left, and then hears the rest.
                (100, LoseOnBus { node: 0, messages: 1 }),
                (0, remove_bob()),
                (100, aside),
                (100, Resume { device: 1, how: How::All }),
            ],
        );
        assert_eq!(told(&outcome, 1), ["caughtUp", "chatRemoved #0", "caughtUp"]);
    }
}

#[test]
fn a_bus_that_ends_is_joined_again_with_all_its_topics() {
    let outcome = play(
        &setup(2),
        &[
            (0, group(&[1])),
            (50, Direct { by: 0, with: 1 }),
            (100, Connect { device: 1, node: 0, how: How::All }),
            (100, EndBus { node: 0 }),
            (1000, send()),
            (100, Type { by: 0, chat: 0 }),
            (100, Connect { device: 0, node: 1, how: How::All }),
        ],
    );
    for what in ["messageCreated #0 2", "typing #0 by ada", "presenceChanged ada online"] {
        let at = when(&outcome, 1, what);
        assert!(at < BEFORE_A_SWEEP, "{what} at {at}");
    }
}

#[test]
fn a_loss_that_shows_is_made_good_for_at_once() {
    let outcome = play(
        &setup(2),
        &[
            (0, group(&[1])),
            (100, Connect { device: 1, node: 0, how: How::All }),
            (100, LoseOnBus { node: 0, messages: 1 }),
            (0, send()),
            (100, send()),
        ],
    );
    assert!(when(&outcome, 1, "messageCreated #0 3") < BEFORE_A_SWEEP);
}

#[test]
fn comings_and_goings_that_the_bus_loses_are_found_with_a_sweep() {
    let outcome = play(
        &setup(2),
        &[
            (0, Direct { by: 0, with: 1 }),
            (100, Connect { device: 1, node: 0, how: How::All }),
            (100, Connect { device: 0, node: 1, how: How::All }),
            (1000, LoseOnBus { node: 0, messages: 100 }),
            (0, Vanish { device: 0 }),
            (9000, LoseOnBus { node: 0, messages: 0 }),
            (9000, LoseOnBus { node: 0, messages: 100 }),
            (0, Connect { device: 0, node: 1, how: How::All }),
        ],
    );
    let of_ada = outcome.told_to(1).into_iter().map(|(_, what)| what).filter(|what| what.contains("ada"));
    let expected =
        ["presenceChanged ada online", "presenceChanged ada offline", "presenceChanged ada online"];
    assert_eq!(of_ada.collect::<Vec<_>>(), expected);
}

#[test]
fn a_bus_out_of_reach_keeps_nobody_from_being_told() {
    let outcome = play(
        &setup(2),
        &[
            (0, CutBus { node: 0, time: Duration::from_secs(60) }),
            (0, group(&[1])),
            (100, Connect { device: 1, node: 0, how: How::All }),
            (100, send()),
            (20_000, send()),
        ],
    );
    for what in ["messageCreated #0 2", "messageCreated #0 3"] {
        let at = when(&outcome, 1, what);
        assert!(at < 31.0, "{what} at {at}, with the next sweep");
    }
}

#[test]
fn who_misses_too_much_at_once_is_shown_the_chat_anew() {
    let setup = Setup { catch_up: 5, ..setup(2) };
    let mut actions = vec![
        (0, group(&[1])),
        (50, Group { by: 0, with: vec![] }),
        (100, Connect { device: 1, node: 0, how: How::All }),
        (50, Connect { device: 3, node: 0, how: How::All }),
        (0, LoseOnBus { node: 0, messages: 100 }),
        (100, Send { by: 0, chat: 0, times: 8 }),
    ];
    let outcome = play(&setup, &actions);
    assert_eq!(told(&outcome, 1), ["caughtUp", "chatReset #0 at 9"]);
    // Who was taken out of it meanwhile, or into it, is told that.
    actions.push((100, remove_bob()));
    assert_eq!(told(&play(&setup, &actions), 1), ["caughtUp", "chatRemoved #0"]);
    actions.push((0, Add { by: 0, chat: 1, whom: vec![1] }));
    actions.push((100, Send { by: 0, chat: 1, times: 8 }));
    let outcome = play(&setup, &actions);
    for device in [1, 3] {
        assert_eq!(told(&outcome, device), ["caughtUp", "chatRemoved #0", "chatAdded #1 at 10"]);
    }
}

#[test]
fn who_was_connected_to_a_node_that_has_stopped_is_not_there_for_long() {
    let outcome = play(
        &setup(2),
        &[
            (0, Direct { by: 0, with: 1 }),
            (100, Connect { device: 0, node: 0, how: How::All }),
            (100, Connect { device: 1, node: 1, how: How::All }),
            // His device does not notice, and so does not come back.
            (100, Stall { device: 1, time: Duration::from_secs(60) }),
            (700, Stop { node: 1 }),
        ],
    );
    let at = when(&outcome, 0, "presenceChanged bob offline");
    assert!(at < 8.5, "5 s after the node stopped, and not when a lease has run out: {at}");
}

#[test]
fn who_is_looked_up_before_the_room_hears_that_they_went_comes_back() {
    for late in [500, 1000, 2000] {
        let outcome = play(
            &setup(2),
            &[
                (0, group(&[1])),
                (100, Connect { device: 1, node: 0, how: How::All }),
                (100, DelayBus { node: 0, time: Duration::from_millis(50) }),
                (0, remove_bob()),
                (60, LoseOnBus { node: 0, messages: 2 }),
                (0, add_bob()),
                (60, Connect { device: 3, node: 0, how: How::All }),
                (200, Vanish { device: 3 }),
                (late, Nothing),
            ],
        );
        assert_eq!(told(&outcome, 1), ["caughtUp", "chatRemoved #0", "chatAdded #0 at 3"]);
    }
}
