use std::{collections::HashMap, fmt, sync::Arc};

use super::{SealedStore, data_keys::Found, place::Place, sealer::Sealer};
use crate::{
    domain::{MessageKind, UserId},
    ports::{
        AskContents, Content, ContentField, ContentPlace, ContentStore as _, Fingerprint, JobRecord,
        ReplaceContent, RowId, StoreErrorKind, StoreResult, StoredContent,
    },
};

/// How many values are sealed in one step.
const AT_ONCE: usize = 200;
/// How many rows are looked at in one step: those that are sealed already cost little.
const ROWS: usize = 4000;

/// How far [`Sealing`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SealedSoFar {
    /// Values that were sealed.
    pub sealed: u64,
    /// Values that were found plain where all was looked through again, and could not be sealed: because others were
    /// changing them each time, the key of their person was destroyed or can't be unwrapped, or the address belongs to
    /// another account, too.
    pub left: u64,
}

/// Seals what was stored before anything was sealed, in small steps, while nodes run. Nodes must seal already: what is
/// written plain meanwhile may be missed.
///
/// Each value is sealed where it is, if it is still there as it was read: what others change meanwhile is theirs. Revisions,
/// versions and times stay, and clients are told nothing. Fingerprints of requests and the keys of addresses, which were
/// made of plain text, are keyed together with it. All is looked through until nothing plain is found, so what was
/// interrupted, or done by two at the same time, is done by whoever goes on. Display names are sealed if the
/// [settings](super::SealSettings::display_names) say so.
///
/// Two things of before stay: the fingerprint of a message that was changed after nodes began to seal, or of a group whose title
/// was, which is a plain hash over what it was first; and what the store itself says of why a job failed.
///
/// What a database keeps of former rows, in free pages, dead rows and logs, is to be removed afterwards by its own means.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
/// use messenger_core::{
///     Messenger, doc, encryption::{KeyRing, SealSettings, SealedStore, Sealing}, memory::MemoryStore,
/// };
///
/// let plain = Arc::new(MemoryStore::new());
/// let messenger = Messenger::builder(plain.clone()).build()?;
/// doc::register(&messenger, "ada").await;
///
/// let ring = Arc::new(KeyRing::new(&[7; 32]));
/// let sealed = Arc::new(SealedStore::open(plain, ring, SealSettings::default()).await?);
/// let mut sealing = Sealing::of(sealed);
/// while sealing.step().await? {}
/// assert_eq!((sealing.so_far().sealed, sealing.so_far().left), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct Sealing {
    store: Arc<SealedStore>,
    fields: Vec<ContentField>,
    pass: Pass,
    so_far: SealedSoFar,
}

/// One way through all rows of a field.
#[derive(Debug, Clone, Copy, Default)]
struct Pass {
    after: RowId,
    found: u64,
    sealed: u64,
}

impl Sealing {
    /// Begins at the first value. Nothing is done before the first step.
    pub fn of(store: Arc<SealedStore>) -> Self {
        let with_names = store.sealer().settings.display_names;
        let is_sealed = |field: &ContentField| *field != ContentField::DisplayName || with_names;
        // The last one is looked through first.
        let fields = ContentField::ALL.into_iter().rev().filter(is_sealed).collect();
        Self { store, fields, pass: Pass::default(), so_far: SealedSoFar::default() }
    }

    /// How far it has come.
    pub const fn so_far(&self) -> SealedSoFar {
        self.so_far
    }

    /// Where it is now; `None` in the end.
    pub fn field(&self) -> Option<ContentField> {
        self.fields.last().copied()
    }

    /// Looks at the next rows, at most 4,000, and seals at most 200 values; tells whether there is more to do. It may be
    /// dropped at any await, and called again after an error.
    ///
    /// # Errors
    /// Those of the store, and `Unavailable` if the key service can't be reached.
    pub async fn step(&mut self) -> StoreResult<bool> {
        let Some(field) = self.field() else { return Ok(false) };
        let asked = AskContents {
            field,
            unlike: Sealer::mark(field),
            after: self.pass.after,
            limit: AT_ONCE,
            rows: ROWS,
        };
        let page = self.store.contents(&asked).await?;
        let is_plain = |stored: &StoredContent| !is_said_by_the_store(stored);
        let plain: Vec<_> = page.contents.into_iter().filter(is_plain).collect();
        let sealed = self.store.seal_in_place(field, &plain).await? as u64;
        self.pass.found += plain.len() as u64;
        self.pass.sealed += sealed;
        self.so_far.sealed += sealed;
        match page.next {
            Some(row) => self.pass.after = row,
            None => self.end_of_pass(),
        }
        Ok(!self.fields.is_empty())
    }

    /// What was found and not sealed was changed by others, to something sealed most likely; the next pass sees to it. It
    /// also finds what came after a row that it belongs before.
    fn end_of_pass(&mut self) {
        let Pass { found, sealed, .. } = std::mem::take(&mut self.pass);
        if sealed == 0 {
            self.so_far.left += found;
            self.fields.pop();
        }
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealing")
            .field("field", &self.field())
            .field("so_far", &self.so_far)
            .finish_non_exhaustive()
    }
}

/// Such a reason says nothing of anybody, and comes again and again.
fn is_said_by_the_store(stored: &StoredContent) -> bool {
    matches!(stored.place, ContentPlace::Reason { .. }) && stored.content.0 == JobRecord::ABANDONED.as_bytes()
}

fn place_of(place: ContentPlace) -> Place {
    match place {
        ContentPlace::Address { user } => Place::Address { user },
        ContentPlace::DisplayName { user } => Place::DisplayName { user },
        ContentPlace::Device { session, user } => Place::Device { session, user },
        ContentPlace::Title { chat } => Place::Title { chat },
        ContentPlace::Body { message, chat, sender, kind: MessageKind::Text } => {
            Place::Text { chat, message, author: sender }
        }
        ContentPlace::Body { message, chat, sender, kind: MessageKind::System } => {
            Place::Note { chat, message, actor: sender }
        }
        ContentPlace::Payload { job } => Place::Payload { job },
        ContentPlace::Reason { job } => Place::Reason { job },
    }
}

impl SealedStore {
    /// Seals those of the values that are still as they were read, and tells how many.
    async fn seal_in_place(&self, field: ContentField, plain: &[StoredContent]) -> StoreResult<usize> {
        if plain.is_empty() {
            return Ok(0);
        }
        let sealer = self.sealer();
        let owners: Vec<UserId> =
            plain.iter().filter_map(|stored| place_of(stored.place).key().owner).collect();
        let keys = sealer.keys.of(&owners, true).await?;
        let mut replacements = Vec::with_capacity(plain.len());
        for stored in plain {
            replacements.extend(sealer.replacement(&keys, field, stored)?);
        }
        match self.replace_contents(field, &replacements).await {
            Err(error) if matches!(error.kind(), StoreErrorKind::AlreadyExists(_)) => {
                self.replace_one_by_one(field, &replacements).await
            }
            replaced => replaced,
        }
    }

    /// Leaves an address that another account has, too: nodes of which not all sealed may have let it in.
    async fn replace_one_by_one(
        &self,
        field: ContentField,
        replacements: &[ReplaceContent],
    ) -> StoreResult<usize> {
        let mut replaced = 0;
        for replacement in replacements {
            match self.replace_contents(field, std::slice::from_ref(replacement)).await {
                Err(error) if matches!(error.kind(), StoreErrorKind::AlreadyExists(_)) => {}
                answer => replaced += answer?,
            }
        }
        Ok(replaced)
    }
}

impl Sealer {
    /// What takes the place of a plain value; `None` if there is no key for it.
    fn replacement(
        &self,
        keys: &HashMap<UserId, Found>,
        field: ContentField,
        plain: &StoredContent,
    ) -> StoreResult<Option<ReplaceContent>> {
        let place = place_of(plain.place);
        let key = match self.pick(keys, &place) {
            Found::Key(key) => key,
            Found::Unavailable => return Err(StoreErrorKind::Unavailable.into()),
            Found::Destroyed | Found::Missing | Found::Damaged => return Ok(None),
        };
        let content = match field.is_text() {
            true => self.seal_text_with(&key, &place, &plain.content)?,
            false => self.seal_with(&key, &place, &plain.content)?,
        };
        let derived = plain.derived.as_deref().map(|derived| self.keyed(field, derived));
        let expected: Content = plain.content.clone();
        Ok(Some(ReplaceContent { row: plain.place.row(), expected, content, derived }))
    }

    /// What was made of a plain value, so that it confirms no guess.
    fn keyed(&self, field: ContentField, derived: &[u8]) -> Vec<u8> {
        match <[u8; 16]>::try_from(derived) {
            Ok(print) if field != ContentField::Address => self.fingerprint(Fingerprint(print)).0.to_vec(),
            _ => self.blind(derived),
        }
    }
}
