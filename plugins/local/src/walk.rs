//! Walks over many objects, and pages of them.

use crate::host::pools::list_objects;
use crate::names::{Place, RESERVED};
use crate::records::{is_snapshot, is_volume};
use bulkhead_sdk::pools::Object;
use bulkhead_sdk::prelude::*;

/// Most entries of a page.
pub const MAX_PAGE: usize = 1000;
/// Longest name of an object.
const MAX_NAME: usize = 128;

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Volumes,
    Snapshots,
}

/// Objects of one kind in one pool, sorted by name.
pub struct Walk<'a> {
    pool: &'a str,
    /// Where its objects are; without their names.
    at: Place,
    prefix: String,
    kind: Kind,
    /// Where to go on; none: the end.
    next: Option<Option<String>>,
    page: std::vec::IntoIter<Object>,
}

impl<'a> Walk<'a> {
    /// Those after the object `after`.
    pub fn new(pool: &'a str, kind: Kind, after: Option<String>) -> Self {
        let prefix = if kind == Kind::Volumes { "" } else { RESERVED };
        Self::with_prefix(pool, prefix.to_owned(), kind, after)
    }

    /// Those whose names start with `prefix`.
    pub fn with_prefix(pool: &'a str, prefix: String, kind: Kind, after: Option<String>) -> Self {
        let at = Place::at(pool, String::new());
        Self { pool, at, prefix, kind, next: Some(after), page: Vec::new().into_iter() }
    }

    fn wants(&self, object: &Object) -> bool {
        let reserved = object.spec.name.starts_with(RESERVED);
        match self.kind {
            Kind::Volumes => !reserved && is_volume(object),
            Kind::Snapshots => reserved && is_snapshot(object),
        }
    }

    fn fetch(&mut self, after: Option<&str>) -> Result<()> {
        let page = list_objects(self.pool, &self.prefix, after)?;
        self.next = page.next.map(|last| {
            let skip = self.kind == Kind::Volumes && last.starts_with(RESERVED);
            // The last name that a snapshot could have: a walk over volumes needn't read through thousands of them.
            Some(if skip { format!("{RESERVED}{}", "z".repeat(MAX_NAME - RESERVED.len())) } else { last })
        });
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
                    return Some(Ok((self.at.beside(&object.spec.name), object)));
                }
            }
            let after = self.next.take()?;
            if let Err(error) = self.fetch(after.as_deref()) {
                return Some(Err(error));
            }
        }
    }
}

/// Everything of one kind in all of `pools`, which are sorted, after `last`.
pub fn all<'a>(
    pools: impl Iterator<Item = &'a str>,
    kind: Kind,
    last: Option<Place>,
) -> impl Iterator<Item = Result<(Place, Object)>> {
    pools
        .flat_map(move |pool| {
            let after = match &last {
                Some(last) if *pool < *last.pool => return None,
                Some(last) if *pool == *last.pool => Some(last.object.clone()),
                _ => None,
            };
            Some(Walk::new(pool, kind, after))
        })
        .flatten()
}

/// One page of what a walk finds, and the token of the next. The token is the id of the last entry: pools and objects are
/// sorted, so a walk goes on at the right place whatever was made and removed meanwhile, also if that very object is gone.
///
/// `entry` makes an entry and its id, or nothing of what is to be left out.
pub fn page<T>(
    found: impl Iterator<Item = Result<(Place, Object)>>,
    request: &PageRequest,
    mut entry: impl FnMut(&Place, &Object) -> Result<Option<T>>,
) -> Result<(Vec<T>, Option<String>)> {
    let size = match usize::try_from(request.max_entries) {
        Ok(size @ 1..=MAX_PAGE) => size,
        _ => MAX_PAGE,
    };
    let (mut entries, mut last) = (Vec::new(), None);
    for found in found {
        let (place, object) = found?;
        let Some(made) = entry(&place, &object)? else { continue };
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
pub fn start(request: &PageRequest, parse: fn(&str) -> Result<Option<Place>>) -> Result<Option<Place>> {
    let bad = || Error::invalid("the page token isn't one of this backend");
    request.token.as_deref().map(|token| parse(token).ok().flatten().ok_or_else(bad)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{self, map, names, world};
    use bulkhead_sdk::pools::{ObjectKind, ObjectSpec, Provisioning};
    use proptest::prelude::*;

    fn make(pool: &str, name: &str, key: &str) {
        let spec = ObjectSpec {
            name: name.to_owned(),
            kind: ObjectKind::Image,
            size_bytes: 4096,
            provisioning: Provisioning::Thin,
            metadata: map(&[(key, name)]),
        };
        fake::pools::create_object(pool, &spec).expect("made");
    }

    fn walk(kind: Kind) -> Vec<String> {
        let found: Result<Vec<_>> = all(["a", "b"].into_iter(), kind, None).collect();
        found.expect("a walk").into_iter().map(|(place, _)| place.id()).collect()
    }

    fn request(max_entries: u32, token: Option<String>) -> PageRequest {
        PageRequest { max_entries, token }
    }

    #[test]
    fn volumes_and_snapshots_are_told_apart() {
        fake::start(&["a", "b"], &[]);
        for name in ["A", "z", "-", "z_s"] {
            make("a", name, "csi-name");
        }
        make("b", "foreign", "x");
        make("b", "_s_foreign", "x");
        make("b", "_s_1", "snapshot-name");
        make("a", "_m_1", "group-name");
        // What is named like the one and says that it is the other is neither.
        make("b", "_s_2", "csi-name");
        make("b", "plain", "snapshot-name");
        assert_eq!(walk(Kind::Volumes), ["a/-", "a/A", "a/z", "a/z_s"]);
        assert_eq!(walk(Kind::Snapshots), ["a/_m_1", "b/_s_1"]);
    }

    #[test]
    fn a_walk_over_volumes_skips_thousands_of_snapshots() {
        fake::start(&["a", "b"], &[]);
        for number in 0..5000 {
            make("a", &format!("_s_{number:04}"), "snapshot-name");
        }
        make("a", "A", "csi-name");
        make("a", "z", "csi-name");
        assert_eq!(walk(Kind::Volumes), ["a/A", "a/z"]);
        assert!(world(|world| world.lists) <= 3);
        assert_eq!(walk(Kind::Snapshots).len(), 5000);
    }

    #[test]
    fn ten_thousand_volumes_take_ten_pages() {
        fake::start(&["a", "b"], &[]);
        for number in 0..10_000 {
            make(if number % 2 == 0 { "a" } else { "b" }, &format!("v{number:05}"), "csi-name");
        }
        let (mut seen, mut token, mut pages) = (Vec::new(), None, 0);
        loop {
            let request = request(0, token);
            let last = start(&request, Place::parse).expect("a token");
            let found = all(["a", "b"].into_iter(), Kind::Volumes, last);
            let (entries, next) = page(found, &request, |place, _| Ok(Some(place.id()))).expect("a page");
            seen.extend(entries);
            pages += 1;
            token = next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!((seen.len(), pages), (10_000, 10));
        assert!(seen.is_sorted());
        assert!(world(|world| world.lists) <= 25, "{}", world(|world| world.lists));
    }

    #[test]
    fn foreign_tokens_are_refused() {
        for token in ["", "x", "a/../b", "a/_s_1"] {
            let refused = start(&request(1, Some(token.to_owned())), Place::parse);
            assert!(matches!(refused, Err(Error::InvalidArgument(_))), "{token}");
        }
        assert!(start(&request(1, Some("a/_s_1".to_owned())), Place::parse_snapshot).is_ok());
    }

    proptest! {
        /// Between two pages volumes come and go; those that stay appear exactly once.
        #[test]
        fn what_stays_appears_once(
            stay in proptest::collection::btree_set("[a-d]{1,3}", 0..20),
            others in proptest::collection::vec(("[a-d_]{1,3}", any::<bool>()), 0..40),
            size in 1_u32..5,
        ) {
            fake::start(&["a", "b"], &[]);
            for name in &stay {
                make(if name.len() == 1 { "b" } else { "a" }, name, "csi-name");
            }
            let (mut seen, mut token, mut others) = (Vec::new(), None, others.into_iter());
            loop {
                let request = request(size, token);
                let last = start(&request, Place::parse).expect("a token");
                let found = all(["a", "b"].into_iter(), Kind::Volumes, last);
                let (entries, next) = page(found, &request, |place, _| Ok(Some(place.clone()))).expect("a page");
                prop_assert!(entries.len() <= size as usize);
                seen.extend(entries);
                token = next;
                if token.is_none() {
                    break;
                }
                for (name, remove) in others.by_ref().take(3).filter(|(name, _)| !stay.contains(name)) {
                    if remove {
                        let _ = fake::pools::delete_object("a", &name);
                    } else if !names("a").contains(&name) {
                        make("a", &name, if name.starts_with('_') { "snapshot-name" } else { "csi-name" });
                    }
                }
            }
            for name in &stay {
                prop_assert_eq!(seen.iter().filter(|place| place.object == *name).count(), 1, "{}", name);
            }
        }
    }
}
