use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any, prop_oneof},
};

/// Picks one of the things that exist at that time; see [`Play`](super::play::Play).
pub(super) type Pick = u8;

/// One intent of a history. Numbers are small, so that a failing history is readable.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Register {
        name: Pick,
        address: Pick,
    },
    UpdateUser(Update),
    ChangePassword {
        who: Pick,
        keep: Option<Pick>,
        stale: bool,
    },
    EraseUser {
        who: Pick,
        stale: bool,
    },
    Seen {
        who: Vec<(Pick, Pick)>,
    },
    LogIn {
        who: Pick,
        max: Pick,
        stale: bool,
    },
    Touch {
        session: Pick,
        used: Pick,
        expires: Pick,
    },
    LogOut {
        who: Pick,
        session: Pick,
    },
    RemoveExpired,
    OpenDirect {
        a: Pick,
        b: Pick,
    },
    CreateGroup {
        creator: Pick,
        members: Vec<Pick>,
        client_id: Option<Pick>,
    },
    ChangeRoster(Roster),
    Mute {
        chat: Pick,
        who: Pick,
        until: Option<Pick>,
    },
    Append {
        batch: Vec<Line>,
    },
    Edit {
        message: Pick,
        stale: bool,
        misplaced: bool,
    },
    Delete {
        message: Pick,
        stale: bool,
        misplaced: bool,
    },
    EraseMessages {
        message: Pick,
        limit: Pick,
    },
    Mark {
        batch: Vec<Mark>,
    },
    Look {
        who: Pick,
        chat: Pick,
        place: Pick,
        limit: Pick,
    },
    /// The replica reads pages of this many changes.
    Sync {
        limit: Pick,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Update {
    pub(super) who: Pick,
    pub(super) name: Option<Pick>,
    pub(super) address: Option<Pick>,
    pub(super) notify: bool,
    pub(super) stale: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Roster {
    pub(super) chat: Pick,
    pub(super) actor: Pick,
    pub(super) add: Vec<Pick>,
    pub(super) remove: Vec<Pick>,
    pub(super) roles: Vec<(Pick, Pick)>,
    pub(super) title: Option<Pick>,
    pub(super) notes: Pick,
    pub(super) stale: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) chat: Pick,
    pub(super) sender: Pick,
    pub(super) client_id: Option<Pick>,
    pub(super) reply: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) chat: Pick,
    pub(super) who: Pick,
    pub(super) seq: Pick,
    pub(super) read: bool,
}

pub(super) fn histories() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..80).prop_map(|steps| beginning().into_iter().chain(steps).collect())
}

/// People and chats at the start; in a history from an empty store most intents would be refused.
fn beginning() -> Vec<Step> {
    let people = (0..4).map(|n| Step::Register { name: n, address: n });
    let chats = [
        Step::CreateGroup { creator: 0, members: vec![1, 2], client_id: Some(0) },
        Step::OpenDirect { a: 0, b: 1 },
    ];
    people.chain(chats).collect()
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => account(),
        2 => session(),
        5 => chat(),
        8 => message(),
        3 => vec(mark(), 1..6).prop_map(|batch| Step::Mark { batch }),
        3 => (pick(), pick(), pick(), pick())
            .prop_map(|(who, chat, place, limit)| Step::Look { who, chat, place, limit }),
        3 => (1..6_u8).prop_map(|limit| Step::Sync { limit }),
    ]
}

fn account() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..12_u8, 0..12_u8).prop_map(|(name, address)| Step::Register { name, address }),
        2 => update().prop_map(Step::UpdateUser),
        1 => (pick(), option::of(pick()), rarely())
            .prop_map(|(who, keep, stale)| Step::ChangePassword { who, keep, stale }),
        1 => (pick(), rarely()).prop_map(|(who, stale)| Step::EraseUser { who, stale }),
        1 => vec((pick(), pick()), 0..5).prop_map(|who| Step::Seen { who }),
    ]
}

fn update() -> impl Strategy<Value = Update> {
    (pick(), option::of(0..4_u8), option::of(0..12_u8), any::<bool>(), rarely())
        .prop_map(|(who, name, address, notify, stale)| Update { who, name, address, notify, stale })
}

fn session() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (pick(), 1..4_u8, rarely()).prop_map(|(who, max, stale)| Step::LogIn { who, max, stale }),
        2 => (pick(), pick(), pick())
            .prop_map(|(session, used, expires)| Step::Touch { session, used, expires }),
        1 => (pick(), pick()).prop_map(|(who, session)| Step::LogOut { who, session }),
        1 => Just(Step::RemoveExpired),
    ]
}

fn chat() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (pick(), pick()).prop_map(|(a, b)| Step::OpenDirect { a, b }),
        2 => (pick(), vec(pick(), 0..4), option::of(0..4_u8)).prop_map(|(creator, members, client_id)| {
            Step::CreateGroup { creator, members, client_id }
        }),
        5 => roster().prop_map(Step::ChangeRoster),
        1 => (pick(), pick(), option::of(pick()))
            .prop_map(|(chat, who, until)| Step::Mute { chat, who, until }),
    ]
}

fn roster() -> impl Strategy<Value = Roster> {
    let people = || vec(pick(), 0..3);
    let roles = vec((pick(), 0..3_u8), 0..3);
    let change = (people(), people(), roles, option::of(pick()));
    (pick(), pick(), change, 1..4_u8, rarely()).prop_map(
        |(chat, actor, (add, remove, roles, title), notes, stale)| Roster {
            chat,
            actor,
            add,
            remove,
            roles,
            title,
            notes,
            stale,
        },
    )
}

fn message() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec(line(), 0..6).prop_map(|batch| Step::Append { batch }),
        2 => (pick(), rarely(), rarely())
            .prop_map(|(message, stale, misplaced)| Step::Edit { message, stale, misplaced }),
        2 => (pick(), rarely(), rarely())
            .prop_map(|(message, stale, misplaced)| Step::Delete { message, stale, misplaced }),
        1 => (pick(), 0..6_u8).prop_map(|(message, limit)| Step::EraseMessages { message, limit }),
    ]
}

fn line() -> impl Strategy<Value = Line> {
    (pick(), pick(), option::of(0..6_u8), any::<bool>()).prop_map(|(chat, sender, client_id, reply)| Line {
        chat,
        sender,
        client_id,
        reply,
    })
}

fn mark() -> impl Strategy<Value = Mark> {
    (pick(), pick(), 0..30_u8, any::<bool>()).prop_map(|(chat, who, seq, read)| Mark { chat, who, seq, read })
}

fn pick() -> impl Strategy<Value = Pick> {
    0..40_u8
}

fn rarely() -> impl Strategy<Value = bool> {
    (0..6_u8).prop_map(|n| n == 5)
}
