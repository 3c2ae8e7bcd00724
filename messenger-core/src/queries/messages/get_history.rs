use serde::{Deserialize, Serialize};

use crate::{
    convert,
    cx::Cx,
    domain::{ChatId, Message, Seq},
    error::{Error, ErrorCode, Result},
    operation::Query,
    ports::{Anchor, Budget},
    queries::page_size,
};

/// Reads a page of a chat's history. At most one of `before`, `after` and `around` may be given; without any, the
/// newest messages are returned.
///
/// A page of long messages has fewer than `limit`: it is bounded in bytes, too, and then has the messages nearest to
/// the requested place. Rely on `hasMoreBefore` and `hasMoreAfter`, not on the number of messages.
///
/// Errors: `notFound`, `invalid`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::queries::GetHistory;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::direct(&messenger, &ada, &bob).await;
/// # for text in ["one", "two", "three"] {
/// #     messenger_core::doc::say(&messenger, &ada, chat_id, text).await;
/// # }
/// let newest = GetHistory { chat_id, before: None, after: None, around: None, limit: Some(2) };
/// let page = messenger.query(&bob, newest.clone()).await?;
/// assert_eq!(page.items[1].body.as_ref().unwrap().as_str(), "three");
///
/// // Scrolling up, for as long as there is more.
/// assert!(page.has_more_before);
/// let page = messenger.query(&bob, GetHistory { before: Some(page.items[0].seq), ..newest }).await?;
/// assert_eq!(page.items[0].body.as_ref().unwrap().as_str(), "one");
/// assert!(!page.has_more_before && page.has_more_after);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetHistory {
    /// The chat.
    pub chat_id: ChatId,
    /// Returns the messages immediately before this place.
    pub before: Option<Seq>,
    /// Returns the messages immediately after this place.
    pub after: Option<Seq>,
    /// Returns the messages on both sides of this place.
    pub around: Option<Seq>,
    /// Maximum number of messages on a page.
    pub limit: Option<u32>,
}

/// A page of a chat's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct History {
    /// In ascending order of seq.
    pub items: Vec<Message>,
    /// Whether there are messages before these.
    pub has_more_before: bool,
    /// Whether there are messages after these.
    pub has_more_after: bool,
}

impl Query for GetHistory {
    type Output = History;
    const NAME: &'static str = "GetHistory";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound, ErrorCode::Invalid];

    async fn run(self, cx: &Cx) -> Result<History> {
        let user = cx.actor().user()?;
        let limit = page_size(self.limit, cx.limits())?;
        let anchor = match (self.before, self.after, self.around) {
            (None, None, None) => Anchor::Newest,
            (Some(seq), None, None) => Anchor::Before(seq),
            (None, Some(seq), None) => Anchor::After(seq),
            (None, None, Some(seq)) => Anchor::Around(seq),
            _ => return Err(Error::invalid("before", "can't be combined with after or around")),
        };
        let budget = Budget { messages: limit, bytes: cx.limits().page.bytes() };
        let range = cx.store().history(self.chat_id, user, anchor, budget).await?;
        let (first, last) = (range.messages.first().map(|m| m.seq), range.messages.last().map(|m| m.seq));
        let (has_more_before, has_more_after) = match (first, last) {
            (Some(first), Some(last)) => (first > Seq::new(1), last < range.last_seq),
            // The page is empty: all messages are on the other side of the anchor.
            _ => match anchor {
                Anchor::After(_) | Anchor::Around(_) => (range.last_seq > Seq::ZERO, false),
                Anchor::Before(_) => (false, range.last_seq > Seq::ZERO),
                Anchor::Newest => (false, false),
            },
        };
        Ok(History { items: convert::messages(range.messages), has_more_before, has_more_after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Limits, PageLimits},
        ports::MessageRecord,
        testing::{Scene, Setup, Who::*, pointers},
    };

    fn newest(chat_id: ChatId) -> GetHistory {
        GetHistory { chat_id, before: None, after: None, around: None, limit: None }
    }

    /// The direct chat with ten messages, with seqs 1 to 10.
    async fn with_ten() -> Scene {
        let scene = Scene::new().await;
        for n in 1..=10 {
            scene.says_in(scene.direct, Owner, &format!("message {n}")).await;
        }
        scene
    }

    #[tokio::test]
    async fn a_page_lies_where_it_is_asked_for_and_says_what_lies_beside_it() {
        let scene = with_ten().await;
        let all = newest(scene.direct);
        let before = |n, limit| GetHistory { before: Some(Seq::new(n)), limit: Some(limit), ..all.clone() };
        let after = |n, limit| GetHistory { after: Some(Seq::new(n)), limit: Some(limit), ..all.clone() };
        let around = |n, limit| GetHistory { around: Some(Seq::new(n)), limit: Some(limit), ..all.clone() };
        let cases = [
            (all.clone(), 1..=10, false, false),
            (GetHistory { limit: Some(10), ..all.clone() }, 1..=10, false, false),
            (GetHistory { limit: Some(9), ..all.clone() }, 2..=10, true, false),
            (GetHistory { limit: Some(1), ..all.clone() }, 10..=10, true, false),
            (before(11, 10), 1..=10, false, false),
            (before(10, 3), 7..=9, true, true),
            (before(4, 3), 1..=3, false, true),
            (before(3, 3), 1..=2, false, true),
            (before(2, 3), 1..=1, false, true),
            (before(100, 3), 8..=10, true, false),
            (after(0, 10), 1..=10, false, false),
            (after(0, 3), 1..=3, false, true),
            (after(1, 3), 2..=4, true, true),
            (after(7, 3), 8..=10, true, false),
            (after(9, 3), 10..=10, true, false),
            (around(5, 4), 3..=6, true, true),
            (around(1, 4), 1..=4, false, true),
            (around(2, 4), 1..=4, false, true),
            (around(10, 4), 8..=10, true, false),
            (around(5, 200), 1..=10, false, false),
        ];
        for (asked, places, has_more_before, has_more_after) in cases {
            let page = scene.ask(Member, asked.clone()).await;
            let seqs: Vec<_> = page.items.iter().map(|message| message.seq.get()).collect();
            assert_eq!(seqs, places.collect::<Vec<_>>(), "{asked:?}");
            let beside = (page.has_more_before, page.has_more_after);
            assert_eq!(beside, (has_more_before, has_more_after), "{asked:?}");
        }
    }

    /// The direct chat with ten messages that weigh 1,000 bytes each; four of them fit on a page.
    async fn with_ten_long_ones() -> Scene {
        let page = PageLimits { bytes: 4 * 1000 + 999, ..PageLimits::default() };
        let limits = Limits { page, ..Limits::default() };
        let scene = Scene::with(Setup { limits, ..Setup::default() }).await;
        for _ in 1..=10 {
            scene.says_in(scene.direct, Owner, &"x".repeat(1000 - MessageRecord::BASE_WEIGHT)).await;
        }
        scene
    }

    #[tokio::test]
    async fn a_page_that_would_be_too_heavy_is_shorter_and_says_what_lies_beside_it() {
        let scene = with_ten_long_ones().await;
        let all = newest(scene.direct);
        for (asked, places, has_more_before, has_more_after) in [
            (all.clone(), 7..=10, true, false),
            (GetHistory { limit: Some(3), ..all.clone() }, 8..=10, true, false),
            (GetHistory { before: Some(Seq::new(9)), ..all.clone() }, 5..=8, true, true),
            (GetHistory { before: Some(Seq::new(4)), ..all.clone() }, 1..=3, false, true),
            (GetHistory { after: Some(Seq::new(2)), ..all.clone() }, 3..=6, true, true),
            (GetHistory { after: Some(Seq::ZERO), ..all.clone() }, 1..=4, false, true),
            (GetHistory { after: Some(Seq::new(7)), ..all.clone() }, 8..=10, true, false),
            (GetHistory { around: Some(Seq::new(5)), ..all.clone() }, 4..=7, true, true),
            (GetHistory { around: Some(Seq::new(1)), ..all.clone() }, 1..=4, false, true),
            (GetHistory { around: Some(Seq::new(10)), ..all.clone() }, 7..=10, true, false),
        ] {
            let page = scene.ask(Member, asked.clone()).await;
            let seqs: Vec<_> = page.items.iter().map(|message| message.seq.get()).collect();
            assert_eq!(seqs, places.collect::<Vec<_>>(), "{asked:?}");
            let beside = (page.has_more_before, page.has_more_after);
            assert_eq!(beside, (has_more_before, has_more_after), "{asked:?}");
        }
    }

    #[tokio::test]
    async fn who_pages_by_what_lies_beside_reads_all_of_it_once() {
        let scene = with_ten_long_ones().await;
        let (mut backwards, mut forwards) = (Vec::new(), Vec::new());
        let mut before = None;
        loop {
            let page = scene.ask(Member, GetHistory { before, ..newest(scene.direct) }).await;
            before = page.items.first().map(|message| message.seq);
            backwards.extend(page.items.iter().rev().map(|message| message.seq.get()));
            if !page.has_more_before {
                break;
            }
        }
        let mut after = Some(Seq::ZERO);
        loop {
            let page = scene.ask(Member, GetHistory { after, ..newest(scene.direct) }).await;
            after = page.items.last().map(|message| message.seq);
            forwards.extend(page.items.iter().map(|message| message.seq.get()));
            if !page.has_more_after {
                break;
            }
        }
        assert_eq!(forwards, (1..=10).collect::<Vec<_>>());
        assert_eq!(backwards, (1..=10).rev().collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn of_an_empty_page_all_lies_on_the_other_side() {
        let scene = with_ten().await;
        let all = newest(scene.direct);
        let empty = GetHistory { limit: Some(3), ..newest(scene.direct) };
        for (asked, has_more_before, has_more_after) in [
            (GetHistory { before: Some(Seq::new(1)), ..all.clone() }, false, true),
            (GetHistory { before: Some(Seq::ZERO), ..all.clone() }, false, true),
            (GetHistory { after: Some(Seq::new(10)), ..all.clone() }, true, false),
            (GetHistory { after: Some(Seq::MAX), ..all.clone() }, true, false),
            (GetHistory { around: Some(Seq::new(100)), ..empty }, true, false),
        ] {
            let page = scene.ask(Member, asked.clone()).await;
            let expected = History { items: Vec::new(), has_more_before, has_more_after };
            assert_eq!(page, expected, "{asked:?}");
        }
    }

    #[tokio::test]
    async fn a_chat_without_messages_has_nothing_on_either_side() {
        let scene = Scene::new().await;
        let all = newest(scene.direct);
        for asked in [
            all.clone(),
            GetHistory { before: Some(Seq::new(1)), ..all.clone() },
            GetHistory { after: Some(Seq::ZERO), ..all.clone() },
            GetHistory { around: Some(Seq::new(1)), ..all.clone() },
        ] {
            let nothing = History { items: Vec::new(), has_more_before: false, has_more_after: false };
            assert_eq!(scene.ask(Member, asked.clone()).await, nothing, "{asked:?}");
        }
    }

    #[tokio::test]
    async fn a_page_lies_in_one_place() {
        let scene = with_ten().await;
        let all = newest(scene.direct);
        let place = Some(Seq::new(5));
        for asked in [
            GetHistory { before: place, after: place, ..all.clone() },
            GetHistory { before: place, around: place, ..all.clone() },
            GetHistory { after: place, around: place, ..all.clone() },
            GetHistory { before: place, after: place, around: place, ..all.clone() },
        ] {
            assert_eq!(pointers(&scene.query(Member, asked.clone()).await), ["/before"], "{asked:?}");
        }
    }

    #[tokio::test]
    async fn its_messages_are_as_they_are_shown_one_by_one() {
        let scene = Scene::new().await;
        let deleted = scene.text(Member, crate::testing::State::Deleted).await;
        let system = scene.system_message().await;
        let page = scene.ask(Owner, GetHistory { limit: Some(2), ..newest(scene.group) }).await;
        assert_eq!(page.items, [deleted, system]);
    }
}
