//! Names of objects and ids of volumes.
//!
//! A volume id is `POOL/OBJECT`, or `NODE/POOL/OBJECT` where the setting `node` is, see [`crate::nodes`]. The object's name is made from the CSI name alone, so that a repeated request finds what the
//! first one made. CSI names are up to 128 bytes of any printable text; objects have [A-Za-z0-9._-], don't start with a dot and
//! must leave room for the pool. A name that fits is used as it is, for people to recognise it. Any other is cut down to
//! what fits and gets `_` and the first 128 bits of its SHA-256 at its end. A name that fits but looks as if it had been made
//! so is treated like one that doesn't fit: thus two names never make one object, short of a SHA-256 collision.
//!
//! Names that start with `_` are not volumes: `_s_NAME` is a snapshot, `_m_HASH_NNN` a member of a group of snapshots. So one
//! prefix lists all snapshots of a pool, and another all members of a group.

use crate::nodes;
use bulkhead_sdk::prelude::*;
use sha2::{Digest, Sha256};

/// Most bytes of a volume id (CSI's limit for any string).
const MAX_ID: usize = 128;
/// `_` and 32 hexadecimal digits.
const SUFFIX: usize = 33;
/// Longest name of a pool with room beside it for all ids, however long the node's part is: what a group's members leave.
const MAX_POOL: usize = MAX_ID - 2 - nodes::MAX - MEMBER.len() - (SUFFIX - 1) - 1 - DIGITS;

/// Longest name of a pool that always leaves enough room in an id.
pub fn max_pool() -> usize {
    if nodes::here().is_some() { MAX_POOL } else { 80 }
}

/// What no volume's object starts with.
pub const RESERVED: &str = "_";
const SNAPSHOT: &str = "_s_";
const MEMBER: &str = "_m_";
/// Digits of a member's number: a request names at most 1,000 volumes.
const DIGITS: usize = 3;

/// Where a volume or snapshot lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As in its id. `None`: the id names none.
    node: Option<String>,
    pub pool: String,
    pub object: String,
}

impl Place {
    /// Where the volume of that CSI name lies if it is in that pool. `None` if the pool's name is so long that no name
    /// could be told from another beside it.
    pub fn of(pool: &str, csi_name: &str) -> Option<Self> {
        Self::made_of(pool, "", csi_name)
    }

    /// Where an object of this node lies.
    pub fn at(pool: &str, object: String) -> Self {
        Self { node: nodes::here(), pool: pool.to_owned(), object }
    }

    /// Where the snapshot of that CSI name lies if its source is in that pool. `None` as in [`Place::of`].
    pub fn of_snapshot(pool: &str, csi_name: &str) -> Option<Self> {
        Self::made_of(pool, SNAPSHOT, csi_name)
    }

    /// Where another object of that pool lies.
    pub fn beside(&self, object: &str) -> Self {
        Self { object: object.to_owned(), ..self.clone() }
    }

    fn made_of(pool: &str, prefix: &str, csi_name: &str) -> Option<Self> {
        let mut place = Self::at(pool, prefix.to_owned());
        let room = MAX_ID.checked_sub(place.id().len()).filter(|room| *room > SUFFIX)?;
        place.object.push_str(&object_name(csi_name, room));
        Some(place)
    }

    /// Reads a volume id. `None` if this backend never made it: then there is no such volume.
    ///
    /// # Errors
    /// `failed-precondition`: it is another node's.
    pub fn parse(volume_id: &str) -> Result<Option<Self>> {
        let place = Self::parse_any(volume_id).filter(|place| !place.object.starts_with(RESERVED));
        place.map(|place| place.here(volume_id)).transpose()
    }

    /// Reads a snapshot id.
    ///
    /// # Errors
    /// As [`Place::parse`].
    pub fn parse_snapshot(snapshot_id: &str) -> Result<Option<Self>> {
        let place = Self::parse_any(snapshot_id);
        let place = place.filter(|place| place.object.starts_with(SNAPSHOT) || place.group().is_some());
        place.map(|place| place.here(snapshot_id)).transpose()
    }

    fn parse_any(id: &str) -> Option<Self> {
        let (node, pool, object) = split(id)?;
        let known = id.len() <= MAX_ID && is_clean(object);
        known.then(|| Self { node: node.map(str::to_owned), pool: pool.to_owned(), object: object.to_owned() })
    }

    fn here(self, id: &str) -> Result<Self> {
        self.node.as_deref().map_or(Ok(()), |node| nodes::check(id, node))?;
        Ok(self)
    }

    /// Its id was made where ids name no node, though those of this node do: nobody knows which node it is of.
    pub fn is_anybodys(&self) -> bool {
        self.node.is_none() && nodes::here().is_some()
    }

    /// The group of snapshots that this is a member of, and its number there.
    pub fn group(&self) -> Option<(Group, usize)> {
        let (hash, number) = self.object.strip_prefix(MEMBER)?.split_once('_')?;
        let is_number = number.len() == DIGITS && number.bytes().all(|b| b.is_ascii_digit());
        let group = Group { node: self.node.clone(), pool: self.pool.clone(), hash: hash.to_owned() };
        (is_number && is_hash(hash)).then(|| number.parse().ok().map(|number| (group, number)))?
    }

    /// The volume or snapshot id.
    pub fn id(&self) -> String {
        join(self.node.as_deref(), &self.pool, &self.object)
    }
}

/// Node, pool and the rest of an id.
fn split(id: &str) -> Option<(Option<&str>, &str, &str)> {
    let (first, rest) = id.split_once('/')?;
    let (node, pool, object) = match rest.split_once('/') {
        Some((pool, object)) => (Some(first), pool, object),
        None => (None, first, rest),
    };
    let is_pool = !pool.is_empty() && !pool.starts_with('.') && pool.chars().all(is_plain);
    (is_pool && node.is_none_or(is_clean)).then_some((node, pool, object))
}

fn join(node: Option<&str>, pool: &str, object: &str) -> String {
    node.map_or_else(|| format!("{pool}/{object}"), |node| format!("{node}/{pool}/{object}"))
}

/// A set of snapshots that were cut together, and so lie in one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    node: Option<String>,
    pub pool: String,
    hash: String,
}

impl Group {
    /// The group of that CSI name if its sources are in that pool. `None` as in [`Place::of`].
    pub fn of(pool: &str, csi_name: &str) -> Option<Self> {
        let group = Self { node: nodes::here(), pool: pool.to_owned(), hash: hash(csi_name) };
        (group.member(0).id().len() <= MAX_ID).then_some(group)
    }

    /// Reads a group id. `None` if this backend never made it.
    ///
    /// # Errors
    /// As [`Place::parse`].
    pub fn parse(group_id: &str) -> Result<Option<Self>> {
        let Some((node, pool, object)) = split(group_id) else { return Ok(None) };
        let Some(hash) = object.strip_prefix(MEMBER).filter(|hash| is_hash(hash)) else { return Ok(None) };
        node.map_or(Ok(()), |node| nodes::check(group_id, node))?;
        Ok(Some(Self { node: node.map(str::to_owned), pool: pool.to_owned(), hash: hash.to_owned() }))
    }

    pub fn id(&self) -> String {
        join(self.node.as_deref(), &self.pool, &format!("{MEMBER}{}", self.hash))
    }

    /// What the objects of all members start with, and no others.
    pub fn prefix(&self) -> String {
        format!("{MEMBER}{}_", self.hash)
    }

    /// Where a member lies, counted from 0.
    pub fn member(&self, number: usize) -> Place {
        self.place(format!("{}{number:0DIGITS$}", self.prefix()))
    }

    /// Where an object lies that is a member.
    pub fn place(&self, object: String) -> Place {
        Place { node: self.node.clone(), pool: self.pool.clone(), object }
    }
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
pub fn hash(csi_name: &str) -> String {
    let digest = Sha256::digest(csi_name.as_bytes());
    digest[..(SUFFIX - 1) / 2].iter().flat_map(|byte| [hex_digit(byte >> 4), hex_digit(*byte)]).collect()
}

fn is_hash(text: &str) -> bool {
    text.len() == SUFFIX - 1 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex_digit(value: u8) -> char {
    char::from(b"0123456789abcdef"[usize::from(value & 15)])
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// What the host takes as an object's name. `..` would do no harm inside a name, but nobody should have to think about it.
pub fn is_clean(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_plain) && !name.starts_with('.') && !name.contains("..")
}

/// Ends like a name that [`object_name`] has changed.
fn looks_hashed(name: &str) -> bool {
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
    fn volumes_leave_names_with_an_underscore_to_snapshots() {
        assert_eq!(object("_a"), "-a_".to_owned() + &hash("_a"));
        assert!(object("_s_a").starts_with("-s_a_"));
        assert_eq!(object("a_b"), "a_b");
        let snapshot = Place::of_snapshot("fast", "snap-1").expect("room");
        assert_eq!(snapshot.id(), "fast/_s_snap-1");
        assert_eq!(Place::parse(&snapshot.id()), Ok(None));
        assert_eq!(Place::parse_snapshot(&snapshot.id()), Ok(Some(snapshot.clone())));
        assert_eq!(snapshot.group(), None);
        assert_eq!(Place::parse_snapshot("fast/snap-1"), Ok(None));
        assert_eq!(Place::of_snapshot(&"p".repeat(91), "a"), None);
        let tight = Place::of_snapshot(&"p".repeat(90), "a b").expect("room");
        assert_eq!(tight.id().len(), MAX_ID);
    }

    #[test]
    fn members_know_their_group() {
        let group = Group::of("fast", "nightly").expect("room");
        assert_eq!(group.id(), "fast/_m_".to_owned() + &hash("nightly"));
        assert_eq!(Group::parse(&group.id()), Ok(Some(group.clone())));
        let member = group.member(7);
        assert!(member.object.starts_with(&group.prefix()) && member.object.ends_with("_007"));
        let found = Place::parse_snapshot(&member.id()).expect("this node's");
        assert_eq!(found.and_then(|place| place.group()), Some((group.clone(), 7)));
        for id in [member.id(), "fast/_m_".to_owned(), "/".to_owned() + &group.id()[5..], "fast/_s_x".to_owned()] {
            assert_eq!(Group::parse(&id), Ok(None), "{id}");
        }
        for id in [group.id(), group.id() + "_7", group.id() + "_0x7", group.id() + "_0007"] {
            assert_eq!(Place::parse_snapshot(&id), Ok(None), "{id}");
        }
        assert_eq!(Group::of(&"p".repeat(89), "a"), None);
    }

    #[test]
    fn pools_with_endless_names_are_refused() {
        assert_eq!(Place::of(&"p".repeat(94), "a"), None);
        assert_eq!(Place::of(&"p".repeat(93), "a b").map(|place| place.id().len()), Some(MAX_ID));
    }

    #[test]
    fn ids_of_other_nodes_are_refused_and_never_unknown() {
        crate::fake::start(&[], &[("node", "node-1")]);
        let place = Place::of("fast", "pvc-1").expect("room");
        let snapshot = Place::of_snapshot("fast", "s").expect("room");
        let group = Group::of("fast", "g").expect("room");
        assert_eq!((place.id().as_str(), snapshot.id().as_str()), ("node-1/fast/pvc-1", "node-1/fast/_s_s"));
        assert_eq!(Place::parse(&place.id()), Ok(Some(place.clone())));
        assert_eq!(Group::parse(&group.id()), Ok(Some(group.clone())));
        let before = Place::parse("fast/pvc-1").expect("nobody else's").expect("a place");
        assert!(before.is_anybodys() && before.id() == "fast/pvc-1" && !place.is_anybodys());
        for config in [&[("node", "node-2")][..], &[]] {
            crate::fake::start(&[], config);
            for refused in [
                Place::parse(&place.id()).map(drop),
                Place::parse_snapshot(&snapshot.id()).map(drop),
                Place::parse_snapshot(&group.member(1).id()).map(drop),
                Group::parse(&group.id()).map(drop),
            ] {
                assert!(
                    matches!(&refused, Err(Error::FailedPrecondition(text)) if text.contains("on node node-1")),
                    "{refused:?}"
                );
            }
        }
    }

    #[test]
    fn foreign_ids_are_no_places() {
        for id in [
            "",
            "fast",
            "fast/",
            "/a",
            "fast/../a",
            "fast/..",
            "fast/.a",
            "fast/a b",
            "fast/\0",
            "n//a",
            "/fast/a",
            "n/fast/",
        ] {
            assert_eq!(Place::parse(id), Ok(None), "{id:?}");
        }
    }

    proptest! {
        #[test]
        fn any_name_makes_an_object_the_host_takes(pool in "[a-z0-9-]{1,39}", name in "\\PC{1,128}", node in "[a-z0-9.-]{0,253}") {
            let config = [("node", node.as_str())];
            crate::fake::start(&[], if node.is_empty() { &[] } else { &config });
            let place = Place::of(&pool, &name).expect("room");
            prop_assert!(is_clean(&place.object), "{}", place.object);
            prop_assert!(place.id().len() <= MAX_ID);
            prop_assert_eq!(Place::of(&pool, &name), Some(place.clone()), "not deterministic");
            prop_assert_eq!(Place::parse(&place.id()), Ok(Some(place.clone())));
            prop_assert!(Group::of(&pool, &name).is_some());
            let snapshot = Place::of_snapshot(&pool, &name).expect("room");
            prop_assert!(is_clean(&snapshot.object) && snapshot.id().len() <= MAX_ID);
            prop_assert_eq!(Place::parse_snapshot(&snapshot.id()), Ok(Some(snapshot.clone())));
            prop_assert_eq!(Place::parse(&snapshot.id()), Ok(None));
            prop_assert_eq!(Place::parse_snapshot(&place.id()), Ok(None));
        }

        #[test]
        fn two_names_make_two_objects(a in "[a-c ._]{1,12}", b in "[a-c ._]{1,12}") {
            prop_assert_eq!(object(&a) == object(&b), a == b);
            // Nor does a name collide with what was made of another.
            prop_assert!(object(&object(&a)) != object(&b) || object(&a) == b);
        }
    }
}
