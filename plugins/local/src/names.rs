//! Names of objects and ids of volumes.
//!
//! A volume id is `POOL/OBJECT`. The object's name is made from the CSI name alone, so that a repeated request finds what the
//! first one made. CSI names are up to 128 bytes of any printable text; objects have [A-Za-z0-9._-], don't start with a dot and
//! must leave room for the pool. A name that fits is used as it is, for people to recognise it. Any other is cut down to
//! what fits and gets `_` and the first 128 bits of its SHA-256 at its end. A name that fits but looks as if it had been made
//! so is treated like one that doesn't fit: thus two names never make one object, short of a SHA-256 collision.

use sha2::{Digest, Sha256};

/// Most bytes of a volume id (CSI's limit for any string).
const MAX_ID: usize = 128;
/// `_` and 32 hexadecimal digits.
const SUFFIX: usize = 33;

/// Where a volume lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub pool: String,
    pub object: String,
}

impl Place {
    /// Where the volume of that CSI name lies if it is in that pool. `None` if the pool's name is so long that no name
    /// could be told from another beside it.
    pub fn of(pool: &str, csi_name: &str) -> Option<Self> {
        let room = MAX_ID.checked_sub(pool.len() + 1).filter(|room| *room > SUFFIX)?;
        Some(Self { pool: pool.to_owned(), object: object_name(csi_name, room) })
    }

    /// Reads a volume id. `None` if this backend never made it: then there is no such volume.
    pub fn parse(volume_id: &str) -> Option<Self> {
        let (pool, object) = volume_id.split_once('/')?;
        let known = volume_id.len() <= MAX_ID && !pool.is_empty() && is_clean(object);
        known.then(|| Self { pool: pool.to_owned(), object: object.to_owned() })
    }

    /// The volume id.
    pub fn id(&self) -> String {
        format!("{}/{}", self.pool, self.object)
    }
}

/// At most `room` bytes that the host takes as an object's name.
fn object_name(csi_name: &str, room: usize) -> String {
    if csi_name.len() <= room && is_clean(csi_name) && !looks_hashed(csi_name) {
        return csi_name.to_owned();
    }
    let mut name = String::with_capacity(room);
    for c in csi_name.chars().take(room - SUFFIX) {
        let dot_is_harmless = !name.is_empty() && !name.ends_with('.');
        name.push(if is_plain(c) && (c != '.' || dot_is_harmless) { c } else { '-' });
    }
    name.push('_');
    for byte in &Sha256::digest(csi_name.as_bytes())[..(SUFFIX - 1) / 2] {
        name.push(hex_digit(byte >> 4));
        name.push(hex_digit(byte & 15));
    }
    name
}

fn hex_digit(value: u8) -> char {
    char::from(b"0123456789abcdef"[usize::from(value & 15)])
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// What the host takes as an object's name. `..` would do no harm inside a name, but nobody should have to think about it.
fn is_clean(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_plain) && !name.starts_with('.') && !name.contains("..")
}

/// Ends like a name that [`object_name`] has changed.
fn looks_hashed(name: &str) -> bool {
    let is_hash = |hash: &str| hash.len() == SUFFIX - 1 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    name.rsplit_once('_').is_some_and(|(_, hash)| is_hash(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(csi_name: &str) -> String {
        Place::of("fast", csi_name).expect("a short pool name").object
    }

    #[test]
    fn what_fits_is_kept() {
        for name in ["pvc-5f0c1e9a-7a44-4a37-9d4a-7d4ab1d6f1f0", "a", "A.b_c-1"] {
            assert_eq!(object(name), name);
        }
        assert_eq!(Place::of("fast", "a").map(|place| place.id()).as_deref(), Some("fast/a"));
    }

    #[test]
    fn what_does_not_fit_is_cut_and_hashed() {
        // First half of `printf %s NAME | sha256sum`.
        assert_eq!(object("a b"), "a-b_c8687a08aa5d6ed2044328fa6a697ab8");
        assert_eq!(object("..").len(), 2 + SUFFIX);
        assert!(object("../../etc/passwd").starts_with("-.-.--etc-passwd_"));
        assert!(object(".hidden").starts_with("-hidden_"));
        assert_eq!(object(&"x".repeat(128)).len(), MAX_ID - "fast/".len());
        assert_eq!(object(&"ü".repeat(64)).len(), 64 + SUFFIX);
    }

    #[test]
    fn a_name_that_looks_hashed_is_not_taken_for_one() {
        let made = object("a b");
        assert_ne!(object(&made), made);
        assert!(object(&made).starts_with(&made));
    }

    #[test]
    fn pools_with_endless_names_are_refused() {
        assert_eq!(Place::of(&"p".repeat(94), "a"), None);
        assert_eq!(Place::of(&"p".repeat(93), "a b").map(|place| place.id().len()), Some(MAX_ID));
    }

    #[test]
    fn foreign_ids_are_no_places() {
        for id in ["", "fast", "fast/", "/a", "fast/../a", "fast/..", "fast/.a", "fast/a/b", "fast/a b", "fast/\0"] {
            assert_eq!(Place::parse(id), None, "{id:?}");
        }
    }

    proptest! {
        #[test]
        fn any_name_makes_an_object_the_host_takes(pool in "[a-z0-9-]{1,60}", name in "\\PC{1,128}") {
            let place = Place::of(&pool, &name).expect("room");
            prop_assert!(is_clean(&place.object), "{}", place.object);
            prop_assert!(place.id().len() <= MAX_ID);
            prop_assert_eq!(Place::of(&pool, &name), Some(place.clone()), "not deterministic");
            prop_assert_eq!(Place::parse(&place.id()), Some(place));
        }

        #[test]
        fn two_names_make_two_objects(a in "[a-c ._]{1,12}", b in "[a-c ._]{1,12}") {
            prop_assert_eq!(object(&a) == object(&b), a == b);
            // Nor does a name collide with what was made of another.
            prop_assert!(object(&object(&a)) != object(&b) || object(&a) == b);
        }
    }
}
