use std::time::Instant;

use messenger_core::{
    ChatId, Seq, UserId,
    ports::{Anchor, Budget, MessageStore},
};

use super::{Figures, Result, verdict};

/// Messages of a page.
pub const PAGE: usize = 50;
/// Pages of a round.
const PAGES: usize = 400;
/// How many times as long as the bare query a page may take.
const AIM: f64 = 1.3;

/// A chat with a long history.
#[derive(Debug, Clone, Copy)]
pub struct LongChat {
    /// Which.
    pub chat: ChatId,
    /// A member.
    pub user: UserId,
    /// How many messages there are, of which each seq from 1 has one.
    pub messages: usize,
}

impl LongChat {
    /// Reads pages from the middle, and prints how long that takes beside a `bare` query that reads the page which begins
    /// at a seq, and says how many rows it got.
    pub async fn compare(
        &self,
        store: &dyn MessageStore,
        rounds: usize,
        mut bare: impl AsyncFnMut(i64) -> Result<usize>,
    ) -> Result {
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=rounds {
            let began = Instant::now();
            for place in self.places(round) {
                assert_eq!(bare(i64::try_from(place)?).await?, PAGE);
            }
            let plain = began.elapsed().as_secs_f64();
            let began = Instant::now();
            for place in self.places(round) {
                let before = Anchor::Before(Seq::new((place + PAGE) as u64));
                let page = store.history(self.chat, self.user, before, Budget::of_messages(PAGE)).await?;
                assert_eq!(page.messages.len(), PAGE);
            }
            let page = began.elapsed().as_secs_f64();
            // The first round warms up.
            if round > 0 {
                ratios.push(page / plain);
                theirs.push(plain / PAGES as f64 * 1e6);
                ours.push(page / PAGES as f64 * 1e6);
            }
        }
        self.print(Figures::of(ours), Figures::of(theirs), Figures::of(ratios).median);
        Ok(())
    }

    fn places(&self, round: usize) -> impl Iterator<Item = usize> {
        let (quarter, half) = (self.messages / 4, self.messages / 2);
        (0..PAGES).map(move |page| quarter + (page * 7919 + round * 31) % half)
    }

    fn print(&self, ours: Figures, theirs: Figures, ratio: f64) {
        println!(
            "\nA page of {PAGE} from the middle of {} messages: {:.0} us (lowest {:.0}), the bare query {:.0} us \
             (lowest {:.0}): {ratio:.2} times; aim {AIM}: {}",
            self.messages,
            ours.median,
            ours.lowest,
            theirs.median,
            theirs.lowest,
            verdict(ratio <= AIM)
        );
    }
}
