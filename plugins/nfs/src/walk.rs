//! Walks over many objects, and pages of them.

use crate::host::pools::list_objects;
use crate::names::{Place, RESERVED};
use crate::records::{is_snapshot, is_volume};
use bulkhead_sdk::pools::Object;
use bulkhead_sdk::prelude::*;

/// Most entries of a page.
pub const MAX_PAGE: usize = 1000;

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Volumes,
    Snapshots,
}

/// Objects of one kind on one share, sorted by name.
struct Walk<'a> {
    share: &'a str,
    kind: Kind,
    /// Where to go on; none: the end.
    next: Option<Option<String>>,
    page: std::vec::IntoIter<Object>,
}

impl Walk<'_> {
    fn wants(&self, object: &Object) -> bool {
        let reserved = object.spec.name.starts_with(RESERVED);
        match self.kind {
            Kind::Volumes => !reserved && is_volume(object),
            Kind::Snapshots => reserved && is_snapshot(object),
        }
    }

    fn fetch(&mut self, after: Option<&str>) -> Result<()> {
        let prefix = if self.kind == Kind::Volumes { "" } else { RESERVED };
        let page = list_objects(self.share, prefix, after)?;
        self.next = page.next.map(Some);
        self.page = page.objects.into_iter();
        Ok(())
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<(Place, Object)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some(object) = self.page.next() {
                if self.wants(&object) {
                    let place = Place { share: self.share.to_owned(), object: object.spec.name.clone() };
                    return Some(Ok((place, object)));
                }
            }
            let after = self.next.take()?;
            if let Err(error) = self.fetch(after.as_deref()) {
                return Some(Err(error));
            }
        }
    }
}

/// Everything of one kind on all of `shares`, which are sorted, after `last`.
pub fn all<'a>(
    shares: impl Iterator<Item = &'a str>,
    kind: Kind,
    last: Option<Place>,
) -> impl Iterator<Item = Result<(Place, Object)>> {
    shares
        .flat_map(move |share| {
            let after = match &last {
                Some(last) if *share < *last.share => return None,
                Some(last) if *share == *last.share => Some(last.object.clone()),
                _ => None,
            };
            Some(Walk { share, kind, next: Some(after), page: Vec::new().into_iter() })
        })
        .flatten()
}

/// One page of what a walk finds, and the token of the next. The token is the id of the last entry: shares and objects are
/// sorted, so a walk goes on at the right place whatever was made and removed meanwhile, also if that very object is gone.
///
/// `entry` makes an entry, or nothing of what is to be left out.
pub fn page<T>(
    found: impl Iterator<Item = Result<(Place, Object)>>,
    request: &PageRequest,
    mut entry: impl FnMut(&Place, &Object) -> Option<T>,
) -> Result<(Vec<T>, Option<String>)> {
    let size = match usize::try_from(request.max_entries) {
        Ok(size @ 1..=MAX_PAGE) => size,
        _ => MAX_PAGE,
    };
    let (mut entries, mut last) = (Vec::new(), None);
    for found in found {
        let (place, object) = found?;
        let Some(made) = entry(&place, &object) else { continue };
        // One more than the page holds tells that there is a next one.
        if entries.len() == size {
            return Ok((entries, last));
        }
        entries.push(made);
        last = Some(place.id());
    }
    Ok((entries, None))
}

/// Where a page starts: after that object.
pub fn start(request: &PageRequest, parse: fn(&str) -> Option<Place>) -> Result<Option<Place>> {
    let bad = || Error::invalid("the page token isn't one of this backend");
    request.token.as_deref().map(|token| parse(token).ok_or_else(bad)).transpose()
}
