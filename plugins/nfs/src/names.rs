//! Names of objects and ids of volumes.
//!
//! | id | what |
//! |---|---|
//! | `SHARE/NAME` | a volume: the object NAME of the pool SHARE |
//! | `SHARE/_s_NAME` | a snapshot |
//! | `SHARE/dir:PATH` | a directory that was on the share before: PATH below the share's export, unless the volume context names another |
//!
//! An object's name is made from the CSI name alone, so that a repeated request finds what the first one made. CSI names are up
//! to 128 bytes of any printable text; objects have [A-Za-z0-9._-], don't start with a dot and must leave room for the share.
//! A name that fits is used as it is. Any other is cut down to what fits and gets `_` and the first 128 bits of its SHA-256 at
//! its end; so does one that fits but looks as if it had been made so. Thus two names never make one object.

use sha2::{Digest, Sha256};

/// Most bytes of a volume id (CSI's limit for any string).
const MAX_ID: usize = 128;
/// `_` and 32 hexadecimal digits.
const SUFFIX: usize = 33;
/// Longest name of a share that leaves enough room in all ids.
pub const MAX_SHARE: usize = 80;
/// What no volume's object starts with.
pub const RESERVED: &str = "_";
const SNAPSHOT: &str = "_s_";
/// No object's name has a colon.
const STATIC: &str = "dir:";

/// Where a volume or snapshot lies that this backend has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The share's name, which is its pool's too.
    pub share: String,
    pub object: String,
}

impl Place {
    /// Where the volume of that CSI name lies if it is on that share. `None` if the share's name is so long that no name could be
    /// told from another beside it.
    pub fn of(share: &str, csi_name: &str) -> Option<Self> {
        Self::made_of(share, "", csi_name)
    }

    /// Where the snapshot of that CSI name lies if its source is on that share. `None` as in [`Place::of`].
    pub fn of_snapshot(share: &str, csi_name: &str) -> Option<Self> {
        Self::made_of(share, SNAPSHOT, csi_name)
    }

    fn made_of(share: &str, prefix: &str, csi_name: &str) -> Option<Self> {
        let mut place = Self { share: share.to_owned(), object: prefix.to_owned() };
        let room = MAX_ID.checked_sub(place.id().len()).filter(|room| *room > SUFFIX)?;
        place.object.push_str(&object_name(csi_name, room));
        Some(place)
    }

    fn parse(id: &str) -> Option<Self> {
        let (share, object) = split(id)?;
        is_clean(object).then(|| Self { share: share.to_owned(), object: object.to_owned() })
    }

    /// Reads the id of a volume that this backend may have made. `None`: it never did.
    pub fn parse_volume(volume_id: &str) -> Option<Self> {
        Self::parse(volume_id).filter(|place| !place.object.starts_with(RESERVED))
    }

    /// Reads a snapshot id. `None`: this backend never made it.
    pub fn parse_snapshot(snapshot_id: &str) -> Option<Self> {
        Self::parse(snapshot_id).filter(|place| place.object.starts_with(SNAPSHOT))
    }

    /// The volume or snapshot id.
    pub fn id(&self) -> String {
        format!("{}/{}", self.share, self.object)
    }
}

/// Share and path of a volume that was there before. `None`: the id isn't of such a one.
pub fn static_parts(volume_id: &str) -> Option<(&str, &str)> {
    let (share, rest) = split(volume_id)?;
    Some((share, rest.strip_prefix(STATIC)?))
}

fn split(id: &str) -> Option<(&str, &str)> {
    let (share, rest) = id.split_once('/').filter(|_| id.len() <= MAX_ID)?;
    is_share(share).then_some((share, rest))
}

/// What a pool, and so a share, can be called.
pub fn is_share(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain)
}

/// At most `room` bytes that the host takes as an object's name.
fn object_name(csi_name: &str, room: usize) -> String {
    let fits = csi_name.len() <= room && is_clean(csi_name) && !csi_name.starts_with(RESERVED);
    if fits && !looks_hashed(csi_name) {
        return csi_name.to_owned();
    }
    let mut name = String::with_capacity(room);
    for c in csi_name.chars().take(room - SUFFIX) {
        let harmless = match c {
            '.' => !name.is_empty() && !name.ends_with('.'),
            '_' => !name.is_empty(),
            c => is_plain(c),
        };
        name.push(if harmless { c } else { '-' });
    }
    name + "_" + &hash(csi_name)
}

/// The first 128 bits of a name's SHA-256.
fn hash(csi_name: &str) -> String {
    let digest = Sha256::digest(csi_name.as_bytes());
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    digest[..(SUFFIX - 1) / 2].iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
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
    let is_hash = |text: &str| text.len() == SUFFIX - 1 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    name.rsplit_once('_').is_some_and(|(_, hash)| is_hash(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(csi_name: &str) -> String {
        Place::of("fast", csi_name).expect("a short name").object
    }

    #[test]
    fn what_fits_is_kept_and_the_rest_is_hashed() {
        for name in ["pvc-5f0c1e9a-7a44-4a37-9d4a-7d4ab1d6f1f0", "a", "A.b_c-1"] {
            assert_eq!(object(name), name);
        }
        // First half of `printf %s NAME | sha256sum`.
        assert_eq!(object("a b"), "a-b_c8687a08aa5d6ed2044328fa6a697ab8");
        assert!(object("../../etc/passwd").starts_with("-.-.--etc-passwd_"));
        assert!(object(".hidden").starts_with("-hidden_") && object("_s_a").starts_with("-s_a_"));
        assert_eq!(object(&"x".repeat(128)).len(), MAX_ID - "fast/".len());
        let made = object("a b");
        assert!(object(&made) != made && object(&made).starts_with(&made));
        assert_eq!(Place::of(&"p".repeat(94), "a"), None);
        assert!(Place::of_snapshot(&"p".repeat(MAX_SHARE), "a b").is_some());
    }

    #[test]
    fn the_three_kinds_of_id_are_told_apart() {
        let (volume, snapshot) = (Place::of("fast", "v").unwrap(), Place::of_snapshot("fast", "v").unwrap());
        assert_eq!((volume.id().as_str(), snapshot.id().as_str()), ("fast/v", "fast/_s_v"));
        assert_eq!(Place::parse_volume("fast/v"), Some(volume));
        assert_eq!(Place::parse_snapshot("fast/_s_v"), Some(snapshot));
        assert_eq!((Place::parse_volume("fast/_s_v"), Place::parse_snapshot("fast/v")), (None, None));
        assert_eq!(static_parts("fast/dir:a/b"), Some(("fast", "a/b")));
        assert_eq!((Place::parse_volume("fast/dir:a"), Place::parse_snapshot("fast/dir:a")), (None, None));
        assert_eq!(static_parts("fast/v"), None);
        for id in ["", "fast", "fast/", "/a", "fast/../a", "fast/..", "fast/.a", "fast/a b", "fast/\0", "n//a", "n/f/a"]
        {
            assert_eq!((Place::parse_volume(id), Place::parse_snapshot(id)), (None, None), "{id:?}");
        }
    }

    proptest! {
        #[test]
        fn any_name_makes_an_object_the_host_takes(share in "[a-z0-9-]{1,80}", name in "\\PC{1,128}") {
            for (place, parse) in [
                (Place::of(&share, &name), Place::parse_volume as fn(&str) -> Option<Place>),
                (Place::of_snapshot(&share, &name), Place::parse_snapshot),
            ] {
                let place = place.expect("room");
                prop_assert!(is_clean(&place.object), "{}", place.object);
                prop_assert!(place.id().len() <= MAX_ID);
                prop_assert_eq!(parse(&place.id()), Some(place));
            }
        }

        #[test]
        fn two_names_make_two_objects(one in "[a-c_. ]{1,5}", other in "[a-c_. ]{1,5}") {
            prop_assert!(one == other || object(&one) != object(&other));
        }
    }
}
