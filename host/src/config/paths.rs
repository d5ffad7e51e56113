//! Where each key of the file is: the YAML library reports an error by its place, people look for the key.

use super::error::Place;
use super::tree::{Node, Value};
use std::collections::BTreeMap;

/// Key paths by the places where keys and values begin.
#[derive(Debug, Default)]
pub(super) struct Paths(BTreeMap<Place, Found>);

/// The innermost of what begins at one place (a list, its first item, that map's first key, ...).
#[derive(Debug)]
struct Found {
    path: String,
    /// If it is a key: path and place of the map that it is in.
    map: Option<(String, Place)>,
}

impl Paths {
    /// Of `source`.
    ///
    /// # Errors
    /// It can't be read even without regard to what it means.
    pub(super) fn of(source: &str, mut options: serde_saphyr::Options) -> Result<Self, serde_saphyr::Error> {
        options.duplicate_keys = serde_saphyr::DuplicateKeyPolicy::PassThrough;
        let root = serde_saphyr::from_str_with_options::<Node>(source, options)?;
        let mut paths = Self::default();
        paths.walk("", &root);
        Ok(paths)
    }

    /// The key or value that begins at `place`.
    pub(super) fn at(&self, place: Place) -> Option<&str> {
        self.0.get(&place).map(|found| found.path.as_str())
    }

    /// The map that begins at `place`, or that has its key there.
    pub(super) fn map_at(&self, place: Place) -> Option<(&str, Place)> {
        let found = self.0.get(&place)?;
        Some(found.map.as_ref().map_or((&found.path, place), |(path, place)| (path, *place)))
    }

    /// Where the key of this path is first.
    pub(super) fn first(&self, path: &str) -> Option<Place> {
        self.0.iter().find(|(_, found)| found.path == path).map(|(place, _)| *place)
    }

    fn walk(&mut self, path: &str, node: &Node) {
        self.0.insert(node.at, Found { path: path.to_owned(), map: None });
        match &node.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    let inner = if path.is_empty() { key.text.clone() } else { format!("{path}.{}", key.text) };
                    self.walk(&inner, value);
                    self.0.insert(key.at, Found { path: inner, map: Some((path.to_owned(), node.at)) });
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(&format!("{path}[{index}]"), item);
                }
            }
            Value::Null | Value::Text(_) | Value::Verbatim(_) => {}
        }
    }
}
