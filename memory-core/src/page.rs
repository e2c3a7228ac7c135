//! Pages and opaque cursors (contract, G11).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A request for one page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageRequest {
    /// The largest number of items, 1 to 10,000.
    #[serde(default = "default_limit")]
    pub limit: usize,
    /// The cursor of the previous page; none for the first page.
    #[serde(default)]
    pub cursor: Option<Cursor>,
}

fn default_limit() -> usize {
    PageRequest::default().limit
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: 100, cursor: None }
    }
}

impl PageRequest {
    /// The first page, of at most `limit` items.
    pub fn first(limit: usize) -> Self {
        Self { limit, cursor: None }
    }

    /// The page of the same size that `cursor` points to.
    #[must_use]
    pub fn after(&self, cursor: Cursor) -> Self {
        Self { limit: self.limit, cursor: Some(cursor) }
    }

    /// For drivers: the position that the cursor holds, if it is one of `listing`.
    pub fn position(&self, listing: &'static str) -> Result<Option<String>> {
        self.cursor.as_ref().map(|cursor| cursor.position(listing)).transpose()
    }
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Points to the next page; none at the end.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// For drivers: makes a page from up to `limit + 1` items in order; the extra item only
    /// shows that there is a next page, which starts after the last item kept.
    pub fn cut(
        mut items: Vec<T>,
        limit: usize,
        listing: &'static str,
        position: impl Fn(&T) -> &str,
    ) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| Cursor::new(listing, position(last)));
        Self { items, next }
    }
}

/// A place in a listing. Its text is opaque; it can be kept and used by another process.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    listing: String,
    position: String,
}

impl Cursor {
    /// For drivers: the place `position` in `listing`, the name of the operation that lists.
    pub fn new(listing: &'static str, position: impl Into<String>) -> Self {
        Self { listing: listing.to_owned(), position: position.into() }
    }

    pub(crate) fn damaged() -> Error {
        Error::invalid_input("the cursor is damaged")
            .with_hint("pass the cursor of the page before, unchanged, or none to start over")
    }

    /// For drivers: the position; `InvalidInput` if the cursor is of another listing.
    pub fn position(&self, listing: &'static str) -> Result<String> {
        if self.listing == listing {
            return Ok(self.position.clone());
        }
        Err(Error::invalid_input(format!(
            "the cursor belongs to the listing {:?}, not to {listing:?}",
            self.listing
        ))
        .with_hint("pass a cursor only to the operation that returned it"))
    }
}

/// A cursor's bytes: CRC-32 of the rest (little endian), the listing, a NUL, the position.
impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        let body = format!("{}\0{}", cursor.listing, cursor.position);
        let mut bytes = crc32fast::hash(body.as_bytes()).to_le_bytes().to_vec();
        bytes.extend_from_slice(body.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

impl TryFrom<String> for Cursor {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        decode(text).ok_or_else(Cursor::damaged)
    }
}

fn decode(text: &str) -> Option<Cursor> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (sum, body) = bytes.split_first_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (listing, position) = std::str::from_utf8(body).ok()?.split_once('\0')?;
    Some(Cursor { listing: listing.to_owned(), position: position.to_owned() })
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(self.clone()))
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form() {
        let cursor = Cursor::new("list", "ключ\u{1}%");
        let text = cursor.to_string();
        assert_eq!(text.parse::<Cursor>().unwrap(), cursor);
        assert!(cursor.position("scan").is_err());
    }

    #[test]
    fn a_damaged_cursor_is_invalid_input() {
        let text = Cursor::new("list", "abc").to_string();
        for damaged in ["", "AAAA", &text[1..], &format!("{text}A"), "💥"] {
            assert!(damaged.parse::<Cursor>().is_err(), "{damaged:?}");
        }
    }

    #[test]
    fn a_page_is_cut_after_its_last_item() {
        let page = Page::cut(vec!["a", "b", "c"], 2, "list", |item| item);
        assert_eq!(page.items, ["a", "b"]);
        assert_eq!(page.next.unwrap().position("list").unwrap(), "b");
        assert!(Page::cut(vec!["a", "b"], 2, "list", |item| item).next.is_none());
    }
}
