use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Requests the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<Cursor>,
}

impl<T> Page<T> {
    /// Makes a page of the first `limit` of `items`, which has one item more if there is a next page; `key` is the
    /// place after which the next page begins.
    pub fn of<K: Serialize>(mut items: Vec<T>, limit: usize, key: impl Fn(&T) -> K) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = if more { items.last().map(|last| Cursor::of(&key(last))) } else { None };
        Self { items, next_cursor }
    }

    /// Makes a single page of a short list.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }

    /// Converts the items of the page.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next_cursor: self.next_cursor }
    }
}

/// A place in a list. Opaque: take it from one page and send it for the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// The cursor for the place after `key`.
    pub fn of<K: Serialize>(key: &K) -> Self {
        // Keys are tuples of ids, numbers and text, which always serialise.
        Self(URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).unwrap_or_default()))
    }

    /// The key that the cursor was made of; `None` if it was not made by [`Cursor::of`] for such a list.
    pub fn key<K: DeserializeOwned>(&self) -> Option<K> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&self.0).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_followed_by_another_says_where_that_begins() {
        for (found, items, next) in [
            (vec![], vec![], None),
            (vec![1], vec![1], None),
            (vec![1, 2], vec![1, 2], None),
            (vec![1, 2, 3], vec![1, 2], Some(20)),
        ] {
            let page = Page::of(found, 2, |n| n * 10);
            assert_eq!((page.items, page.next_cursor), (items, next.map(|key| Cursor::of(&key))));
        }
    }

    #[test]
    fn a_short_list_is_one_page() {
        assert_eq!(Page::whole(vec![1, 2]), Page { items: vec![1, 2], next_cursor: None });
    }

    #[test]
    fn a_page_of_other_things_is_followed_by_the_same_one() {
        let page = Page::of(vec![1, 2, 3], 2, |n| *n);
        let next_cursor = page.next_cursor.clone();
        assert!(next_cursor.is_some());
        assert_eq!(page.map(|n| n.to_string()), Page { items: vec!["1".into(), "2".into()], next_cursor });
    }

    #[test]
    fn a_cursor_holds_its_place_in_letters_that_need_no_quoting() {
        let key = (7, String::from("ü?&/ "));
        let cursor = Cursor::of(&key);
        assert_eq!(cursor.key::<(i32, String)>(), Some(key));
        let text = serde_json::to_value(&cursor).unwrap();
        let text = text.as_str().unwrap();
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)), "{text}");
        assert_eq!(serde_json::from_value::<Cursor>(text.into()).unwrap(), cursor);
    }

    #[test]
    fn what_is_no_cursor_of_such_a_list_has_no_place() {
        for bad in ["", "?", "AAAA", "bm90IGpzb24"] {
            let cursor: Cursor = serde_json::from_value(bad.into()).unwrap();
            assert_eq!(cursor.key::<u32>(), None, "{bad}");
        }
        assert_eq!(Cursor::of(&"text").key::<u32>(), None);
    }
}
