//! Whose ids these are. Where every node has storage of its own and a controller beside it, the setting `node` puts the node
//! into each id: one that has come to the wrong node must never be taken for one of something that is gone.

use crate::host::config;
use crate::names::{hash, is_clean};
use bulkhead_sdk::prelude::*;

/// The setting.
pub const NODE: &str = "node";
/// Longest name that a node can have (a DNS subdomain).
pub const MAX_NAME: usize = 253;
/// Most bytes of an id that are the node's.
pub const MAX: usize = 48;
/// `_` and 16 hexadecimal digits. No node of Kubernetes has a `_` in its name.
const SUFFIX: usize = 17;

/// What the ids of this node begin with. `None`: they name no node.
pub fn here() -> Option<String> {
    config::get(NODE).map(|name| part(&name))
}

/// A node's name as it is in ids: as it is where it fits, otherwise what fits of it, and the first 64 bits of its SHA-256.
fn part(name: &str) -> String {
    if name.len() <= MAX && is_clean(name) && !name.contains('_') {
        return name.to_owned();
    }
    let mut part = String::with_capacity(MAX);
    for c in name.chars().take(MAX - SUFFIX) {
        let harmless = c.is_ascii_alphanumeric() || (c == '.' && !part.is_empty() && !part.ends_with('.'));
        part.push(if harmless { c } else { '-' });
    }
    part + "_" + &hash(name)[..SUFFIX - 1]
}

/// Refuses what is another node's, or was made where ids had a node in them.
pub fn check(id: &str, node: &str) -> Result<()> {
    match here() {
        Some(here) if here == node => Ok(()),
        Some(here) => Err(Error::precondition(format!("{id} is on node {node}, and this is node {here}: ask there"))),
        None => Err(Error::precondition(format!(
            "{id} is on node {node}; set `{NODE}` in the backend's config there, without it ids of nodes aren't served"
        ))),
    }
}

/// The node that an id is of, if that is another than this.
pub fn elsewhere(id: &str) -> Option<&str> {
    let (node, rest) = id.split_once('/')?;
    (rest.contains('/') && here().as_deref() != Some(node)).then_some(node)
}

/// What an id that names no node means on a node whose ids do, where nothing of it is found: it may be on any node.
pub fn nobody_knows(id: &str) -> Error {
    Error::precondition(format!(
        "{id} names no node, and isn't here: it was made before `{NODE}` was set, and may be on another node. If it is nowhere \
         any more, remove what still names it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::start;
    use proptest::prelude::*;

    #[test]
    fn names_that_fit_are_kept() {
        for name in ["node-1", "ip-10-0-12-34.eu-central-1.compute.internal", &"a".repeat(MAX)] {
            assert_eq!(part(name), name);
        }
        let long = part(&"worker.".repeat(30));
        assert!(long.starts_with("worker.worker.") && long.len() == MAX, "{long}");
        assert_ne!(part("a_b"), part("a-b"));
        assert_ne!(part(&part("a b")), part("a b"));
    }

    #[test]
    fn ids_are_of_one_node() {
        start(&[], &[]);
        assert_eq!((here(), elsewhere("fast/a"), elsewhere("n/fast/a")), (None, None, Some("n")));
        start(&[], &[(NODE, "node-1")]);
        assert_eq!(here().as_deref(), Some("node-1"));
        assert_eq!((elsewhere("node-1/fast/a"), elsewhere("node-2/fast/a")), (None, Some("node-2")));
        let refused = check("node-2/fast/a", "node-2");
        assert!(
            matches!(&refused, Err(Error::FailedPrecondition(text)) if text.contains("node node-2")),
            "{refused:?}"
        );
    }

    proptest! {
        #[test]
        fn any_name_makes_a_part_of_an_id(name in "\\PC{1,253}", other in "[a-z_.-]{1,80}") {
            let made = part(&name);
            prop_assert!(is_clean(&made) && made.len() <= MAX, "{}", made);
            prop_assert!(made != part(&other) || name == other);
        }
    }
}
