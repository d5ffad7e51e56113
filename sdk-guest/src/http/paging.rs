//! Walking pages.

use crate::types::{Error, Result};

/// One page of a storage system's listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it; may be nothing, even if it isn't the last.
    pub items: Vec<T>,
    /// Asks for the next one. `None` or empty: this was the last.
    pub next: Option<String>,
}

/// Items of all pages. `fetch` gets the token of the page before, `None` for the first.
///
/// A storage system that never ends, or that gives a token twice, ends the walk with an error: nothing here can hang. The
/// first error ends it too.
///
/// ```
/// use bulkhead_sdk::http::{Page, Pages};
///
/// let pages = |token: Option<&str>| match token {
///     None => Ok(Page { items: vec![1, 2], next: Some("b".to_owned()) }),
///     Some(_) => Ok(Page { items: vec![3], next: None }),
/// };
/// let all: Result<Vec<i32>, _> = Pages::new(pages).collect();
/// assert_eq!(all.unwrap(), [1, 2, 3]);
/// ```
pub struct Pages<T, F> {
    fetch: F,
    items: std::vec::IntoIter<T>,
    seen: Vec<String>,
    done: bool,
}

/// More pages than any listing of one call can have.
const MAX_PAGES: usize = 1000;

impl<T, F: FnMut(Option<&str>) -> Result<Page<T>>> Pages<T, F> {
    /// Nothing is fetched before the first item is asked for.
    pub fn new(fetch: F) -> Self {
        Self { fetch, items: Vec::new().into_iter(), seen: Vec::new(), done: false }
    }

    fn turn(&mut self) -> Result<()> {
        let page = (self.fetch)(self.seen.last().map(String::as_str))?;
        self.items = page.items.into_iter();
        match page.next.filter(|next| !next.is_empty()) {
            None => self.done = true,
            Some(next) if self.seen.contains(&next) || self.seen.len() >= MAX_PAGES => {
                return Err(Error::unavailable("the storage system's listing goes in circles or never ends"));
            }
            Some(next) => self.seen.push(next),
        }
        Ok(())
    }
}

impl<T, F: FnMut(Option<&str>) -> Result<Page<T>>> Iterator for Pages<T, F> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.items.next() {
                return Some(Ok(item));
            }
            if self.done {
                return None;
            }
            if let Err(error) = self.turn() {
                (self.done, self.items) = (true, Vec::new().into_iter());
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_pages_are_passed_over_and_errors_end_the_walk() {
        let mut calls = 0;
        let pages = Pages::new(|token: Option<&str>| {
            calls += 1;
            match token {
                None => Ok(Page { items: vec![], next: Some("a".to_owned()) }),
                Some("a") => Ok(Page { items: vec![1], next: Some("b".to_owned()) }),
                _ => Err(Error::unavailable("gone")),
            }
        });
        assert_eq!(pages.collect::<Vec<_>>(), [Ok(1), Err(Error::unavailable("gone"))]);
        assert_eq!(calls, 3);
        let last = Pages::new(|_: Option<&str>| Ok(Page { items: vec![7], next: Some(String::new()) }));
        assert_eq!(last.collect::<Vec<_>>(), [Ok(7)]);
    }

    #[test]
    fn liars_are_left() {
        let circle = Pages::new(|token: Option<&str>| {
            let next = if token == Some("a") { "b" } else { "a" };
            Ok(Page { items: vec![0], next: Some(next.to_owned()) })
        });
        assert!(matches!(circle.last(), Some(Err(Error::Unavailable(_)))));
        let mut count = 0;
        let endless = Pages::new(move |_: Option<&str>| {
            count += 1;
            Ok(Page::<u8> { items: vec![], next: Some(count.to_string()) })
        });
        assert!(matches!(endless.last(), Some(Err(Error::Unavailable(_)))));
    }
}
