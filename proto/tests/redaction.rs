//! No message shows a secret when it is formatted, at whatever depth the secret lies.

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bulkhead_proto::v1::{NodePublishVolumeRequest, Volume};
use bulkhead_proto::{SERVICE_ACCOUNT_TOKENS_KEY, debug_by_name, pretty_debug_by_name};
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

/// Part of every key and value that must not be shown.
const HIDDEN: &str = "sentinel-hidden";
/// Every string that must be shown.
const VISIBLE: &str = "sentinel-visible";
/// Longest oneof of CSI: so many rounds fill every member of each.
const ROUNDS: usize = 2;

#[test]
fn no_message_shows_a_secret() {
    let hidden = hidden_fields();
    let mut reached = BTreeSet::new();
    let mut formatted = 0;
    for message in messages() {
        for round in 0..ROUNDS {
            let mut filler = Filler::new(&hidden, round);
            let bytes = filler.message(&message).encode_to_vec();
            let name = message.full_name();
            for format in [debug_by_name, pretty_debug_by_name] {
                let text = format(name, &bytes).unwrap_or_else(|| panic!("{name} isn't known"));
                filler.check(name, &text);
                formatted += 1;
            }
            reached.extend(filler.reached);
        }
    }
    // The sentinels were where the tables say that secrets are, and in no smaller number of messages.
    assert_eq!(reached, hidden);
    let listed = support::table().iter().filter(|fact| fact.starts_with("message ")).count();
    assert_eq!(formatted, listed * ROUNDS * 2);
}

#[test]
fn fields_marked_secret_are_those_of_the_table() {
    let pool = support::pool();
    let option = pool.get_extension_by_name("csi.v1.csi_secret").expect("the option is declared");
    assert_eq!(option.number(), 1059);
    let marked: BTreeSet<_> = messages()
        .iter()
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .filter(|field| field.options().get_extension(&option).as_bool() == Some(true))
        .map(|field| field.full_name().to_owned())
        .collect();
    assert_eq!(marked, table_fields(|_, rest| rest.ends_with(" secret")));
}

#[test]
fn no_oneof_has_a_member_that_the_rounds_miss() {
    for message in messages() {
        for oneof in message.oneofs() {
            assert!(oneof.fields().len() <= ROUNDS, "{}", oneof.full_name());
        }
    }
}

#[test]
fn tokens_are_hidden_in_any_map_and_their_neighbours_shown() {
    let context = BTreeMap::from([
        (SERVICE_ACCOUNT_TOKENS_KEY.to_owned(), HIDDEN.to_owned()),
        ("csi.storage.k8s.io/pod.name".to_owned(), VISIBLE.to_owned()),
    ]);
    let publish = NodePublishVolumeRequest {
        volume_context: context.clone(),
        publish_context: context.clone(),
        ..Default::default()
    };
    let volume = Volume { volume_context: context, ..Default::default() };
    let request = tonic::Request::new(publish.clone());
    for (text, maps) in [
        (format!("{publish:?}"), 2),
        (format!("{publish:#?}"), 2),
        (format!("{request:?}"), 2),
        (format!("{volume:?}"), 1),
    ] {
        assert!(!text.contains(HIDDEN), "{text}");
        assert_eq!(text.matches(VISIBLE).count(), maps, "{text}");
        assert_eq!(text.matches("<redacted>").count(), maps, "{text}");
    }
}

#[test]
fn debug_by_name_refuses_what_it_cannot_decode() {
    assert_eq!(debug_by_name("csi.v1.NoSuchMessage", b""), None);
    assert_eq!(debug_by_name("csi.v1.Volume", b"\xff"), None);
    assert_eq!(pretty_debug_by_name("csi.v1.NoSuchMessage", b""), None);
}

/// All messages of `csi.v1`, nested ones too.
fn messages() -> Vec<MessageDescriptor> {
    support::pool().all_messages().filter(|m| m.package_name() == "csi.v1" && !m.is_map_entry()).collect()
}

/// Full names of the fields that must never be shown, by the tables and not by the descriptor.
fn hidden_fields() -> BTreeSet<String> {
    table_fields(|name, rest| rest.ends_with(" secret") || name.ends_with(".mount_flags"))
}

/// Full names of the fields in the tables for which `wanted(name, rest of the line)` holds.
fn table_fields(wanted: impl Fn(&str, &str) -> bool) -> BTreeSet<String> {
    support::table()
        .iter()
        .filter_map(|fact| fact.strip_prefix("field ")?.split_once(" = "))
        .filter(|(name, rest)| wanted(name, rest))
        .map(|(name, _)| format!("csi.v1.{name}"))
        .collect()
}

/// Makes messages with a sentinel in every string, and counts what Debug has to show.
struct Filler<'a> {
    hidden: &'a BTreeSet<String>,
    /// Which member of each oneof is set.
    round: usize,
    reached: BTreeSet<String>,
    secrets: usize,
    tokens: usize,
    visible: usize,
}

impl<'a> Filler<'a> {
    fn new(hidden: &'a BTreeSet<String>, round: usize) -> Self {
        Filler { hidden, round, reached: BTreeSet::new(), secrets: 0, tokens: 0, visible: 0 }
    }

    fn message(&mut self, descriptor: &MessageDescriptor) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            let chosen = field.containing_oneof().is_none_or(|oneof| {
                let members: Vec<_> = oneof.fields().collect();
                members[self.round % members.len()] == field
            });
            if chosen {
                let value = self.field(&field);
                message.set_field(&field, value);
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        if self.hidden.contains(field.full_name()) {
            self.reached.insert(field.full_name().to_owned());
            self.secrets += 1;
            let pair = ["a", "b"].map(|end| format!("{HIDDEN}-{end}"));
            if field.is_map() {
                return string_map(pair.each_ref().map(|text| (text.as_str(), text.as_str())));
            }
            return Value::List(pair.map(Value::String).to_vec());
        }
        if field.is_map() {
            self.tokens += 1;
            self.visible += 2;
            return string_map([(SERVICE_ACCOUNT_TOKENS_KEY, HIDDEN), (VISIBLE, VISIBLE)]);
        }
        let value = self.single(&field.kind());
        if field.is_list() {
            return Value::List(vec![value]);
        }
        value
    }

    fn single(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::String => {
                self.visible += 1;
                Value::String(VISIBLE.to_owned())
            }
            Kind::Bool => Value::Bool(true),
            Kind::Int32 => Value::I32(7),
            Kind::Int64 => Value::I64(7),
            Kind::Enum(_) => Value::EnumNumber(1),
            Kind::Message(message) => Value::Message(self.message(message)),
            other => panic!("CSI has no {other:?} yet: fill it too"),
        }
    }

    fn check(&self, name: &str, text: &str) {
        assert!(!text.contains(HIDDEN), "{name} shows a secret: {text}");
        for (what, wanted) in
            [(VISIBLE, self.visible), ("<redacted: 2 entries>", self.secrets), ("<redacted>", self.tokens)]
        {
            assert_eq!(text.matches(what).count(), wanted, "{what} in {name}: {text}");
        }
    }
}

fn string_map<const N: usize>(entries: [(&str, &str); N]) -> Value {
    let entries = entries.map(|(key, value)| (MapKey::String(key.to_owned()), Value::String(value.to_owned())));
    Value::Map(HashMap::from(entries))
}
