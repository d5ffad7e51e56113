//! A backend's free-form settings: any YAML, kept with places and flattened to text on demand.

use super::error::{Errors, Place};
use super::raw::{Text, place_of};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The `config` of a backend; a map at its top.
#[derive(Debug, Clone)]
pub(super) struct Tree(Vec<(Text, Node)>);

/// Any YAML.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub value: Value,
    pub at: Place,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Text(String),
    /// A number or boolean, which the YAML library hands over as its value; its spelling is these bytes of the file.
    Verbatim(std::ops::Range<usize>),
    List(Vec<Node>),
    Map(Vec<(Text, Node)>),
}

impl Value {
    /// A scalar's spelling in the file, whose text is `source`; empty for all else.
    pub(super) fn as_written(&self, source: &str) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Verbatim(span) => unquoted(source.get(span.clone()).unwrap_or_default()).to_owned(),
            Self::Null | Self::List(_) | Self::Map(_) => String::new(),
        }
    }
}

/// A flattened setting before `${ENV}` is expanded.
pub(super) struct Setting {
    /// Nested keys joined by dots.
    pub key: String,
    /// The value as the file has it.
    pub text: Text,
}

impl Tree {
    /// The keys at the top with their values, in the file's order.
    pub(super) fn entries(&self) -> &[(Text, Node)] {
        &self.0
    }

    /// All settings, sorted by key. `source` is the file's text; `path` is the key path of this tree, for errors.
    pub(super) fn flatten(&self, source: &str, path: &str, errors: &mut Errors<'_>) -> Vec<Setting> {
        let mut flat = Flat { source, path, errors, settings: BTreeMap::new() };
        flat.map("", &self.0);
        flat.settings.into_iter().map(|(key, text)| Setting { key, text }).collect()
    }
}

struct Flat<'a, 'e> {
    source: &'a str,
    path: &'a str,
    errors: &'a mut Errors<'e>,
    settings: BTreeMap<String, Text>,
}

impl Flat<'_, '_> {
    fn map(&mut self, prefix: &str, entries: &[(Text, Node)]) {
        for (key, node) in entries {
            if key.text.is_empty() || key.text.chars().any(char::is_control) {
                let path = format!("{}{}", self.path, dotted(prefix));
                self.errors.add(key.at, path, "a key is empty or holds a control character: use another");
            } else {
                self.node(&join(prefix, &key.text), node);
            }
        }
    }

    fn node(&mut self, key: &str, node: &Node) {
        let text = match &node.value {
            Value::Map(entries) => return self.map(key, entries),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.node(&join(key, &index.to_string()), item);
                }
                return;
            }
            Value::Null => {
                let path = format!("{}.{key}", self.path);
                return self.errors.add(
                    node.at,
                    path,
                    "has no value: write one (\"\" for an empty text) or remove the key",
                );
            }
            scalar => scalar.as_written(self.source),
        };
        if let Some(first) = self.settings.get(key) {
            let message = format!(
                "is set twice (first at line {}), as nested keys are joined by dots: remove one",
                first.at.line
            );
            return self.errors.add(node.at, format!("{}.{key}", self.path), message);
        }
        self.settings.insert(key.to_owned(), Text { text, at: node.at });
    }
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

fn dotted(prefix: &str) -> String {
    if prefix.is_empty() { String::new() } else { format!(".{prefix}") }
}

/// Without the quotes of an explicitly tagged scalar such as `!!int "5"`.
pub(super) fn unquoted(text: &str) -> &str {
    ['"', '\''].iter().find_map(|q| text.strip_prefix(*q)?.strip_suffix(*q)).unwrap_or(text)
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::raw::Entries::deserialize(deserializer).map(|entries| Self(entries.0))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { mut value, defined, .. } = Spanned::<Value>::deserialize(deserializer)?;
        if let Value::Verbatim(range) = &mut value {
            let span = defined.span();
            let bytes = span.byte_offset().zip(span.byte_len());
            let start_and_len =
                bytes.and_then(|(at, len)| Some((usize::try_from(at).ok()?, usize::try_from(len).ok()?)));
            let (start, len) = start_and_len.ok_or_else(|| D::Error::custom("a number without a place"))?;
            *range = start..start.saturating_add(len);
        }
        Ok(Self { value, at: place_of(defined) })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;

        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, number, boolean, list or map")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
                Ok(Value::Verbatim(0..0))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
                Ok(Value::Verbatim(0..0))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
                Ok(Value::Verbatim(0..0))
            }

            fn visit_i128<E>(self, _: i128) -> Result<Value, E> {
                Ok(Value::Verbatim(0..0))
            }

            fn visit_u128<E>(self, _: u128) -> Result<Value, E> {
                Ok(Value::Verbatim(0..0))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
                Ok(Value::Verbatim(0..0))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Value::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Value::Map(entries))
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl JsonSchema for Tree {
    fn schema_name() -> Cow<'static, str> {
        "Settings".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object" })
    }
}
