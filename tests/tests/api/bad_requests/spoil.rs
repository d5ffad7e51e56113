//! Every way to spoil one field of a message, for all fields at all depths.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};
use std::collections::HashMap;

/// A spoiled message.
pub struct Spoiled {
    /// Field names from the outermost in, with dots.
    pub field: String,
    /// What is wrong with it.
    pub how: String,
    pub message: DynamicMessage,
}

/// Longer than any path (4095), string (128) or flags together (4096) may be.
const TOO_LONG: usize = 5000;
/// Larger than secrets together (64 KiB).
const TOO_LARGE: usize = 70_000;

/// All that can be spoiled in `message`. Fields that it does not have are made up.
pub fn every_field(message: &DynamicMessage) -> Vec<Spoiled> {
    let mut all = vec![];
    for field in message.descriptor().fields() {
        for (how, value) in spoiled_values(&field) {
            all.push(with(message, &field, how, Some(value)));
        }
        if let Kind::Message(inner) = field.kind()
            && !field.is_map()
        {
            for deeper in every_field(&inside(message, &field, &inner)) {
                let value = Value::Message(deeper.message);
                let value = if field.is_list() { Value::List(vec![value]) } else { value };
                let mut spoiled = with(message, &field, deeper.how, Some(value));
                spoiled.field = format!("{}.{}", field.name(), deeper.field);
                all.push(spoiled);
            }
        }
    }
    all
}

/// `message` without the field of that name.
pub fn without(message: &DynamicMessage, field: &str) -> Spoiled {
    let (first, rest) = field.split_once('.').map_or((field, None), |(first, rest)| (first, Some(rest)));
    let descriptor = message.descriptor().get_field_by_name(first).expect("a field");
    let Some(rest) = rest else { return with(message, &descriptor, "nothing".into(), None) };
    let Kind::Message(inner) = descriptor.kind() else { panic!("{first} is no message") };
    let value = Value::Message(without(&inside(message, &descriptor, &inner), rest).message);
    let value = if descriptor.is_list() { Value::List(vec![value]) } else { value };
    Spoiled { field: field.into(), ..with(message, &descriptor, "nothing".into(), Some(value)) }
}

fn with(message: &DynamicMessage, field: &FieldDescriptor, how: String, value: Option<Value>) -> Spoiled {
    let mut message = message.clone();
    match value {
        Some(value) => message.set_field(field, value),
        None => message.clear_field(field),
    }
    Spoiled { field: field.name().into(), how, message }
}

/// The message in a field, or the first of a list.
fn inside(message: &DynamicMessage, field: &FieldDescriptor, inner: &MessageDescriptor) -> DynamicMessage {
    let value = message.get_field(field);
    let found = value.as_message().or_else(|| value.as_list()?.first()?.as_message());
    found.cloned().unwrap_or_else(|| DynamicMessage::new(inner.clone()))
}

fn spoiled_values(field: &FieldDescriptor) -> Vec<(String, Value)> {
    let texts = || {
        let texts = ["a\0b", "a\nb", "\u{1b}[31mred", "\u{7f}"].map(|text| (format!("{text:?}"), text.to_owned()));
        texts.into_iter().chain([(format!("{TOO_LONG} bytes"), "x".repeat(TOO_LONG))])
    };
    if field.is_map() {
        return spoiled_maps(field.name() == "secrets");
    }
    let list = |values: Vec<Value>| Value::List(values);
    match field.kind() {
        Kind::String if field.is_list() => {
            let flags = texts().chain([("an empty entry".into(), String::new()), ("a comma".into(), "ro,suid".into())]);
            let mut all: Vec<_> = flags.map(|(how, text)| (how, list(vec![Value::String(text)]))).collect();
            all.push(("10,000 entries".into(), list(vec![Value::String("ro".into()); 10_000])));
            all
        }
        Kind::String => {
            let long = ("129 bytes".to_owned(), "x".repeat(129));
            let is_path = field.name().ends_with("_path");
            texts().chain((!is_path).then_some(long)).map(|(how, text)| (how, Value::String(text))).collect()
        }
        Kind::Int32 => [-1, i32::MIN].map(|n| (n.to_string(), Value::I32(n))).into(),
        Kind::Int64 => [-1, i64::MIN].map(|n| (n.to_string(), Value::I64(n))).into(),
        Kind::Enum(_) => [0, -1, 99].map(|n| (format!("enum value {n}"), Value::EnumNumber(n))).into(),
        Kind::Message(inner) if field.is_list() => {
            let one = Value::Message(DynamicMessage::new(inner));
            vec![("10,000 entries".into(), list(vec![one; 10_000]))]
        }
        _ => vec![],
    }
}

fn spoiled_maps(secrets: bool) -> Vec<(String, Value)> {
    let map = |pairs: Vec<(String, String)>| {
        let pairs = pairs.into_iter().map(|(key, value)| (MapKey::String(key), Value::String(value)));
        Value::Map(pairs.collect::<HashMap<_, _>>())
    };
    let one = |key: &str, value: &str| map(vec![(key.to_owned(), value.to_owned())]);
    let mut all = vec![
        ("10,000 entries".to_owned(), map((0..10_000).map(|n| (format!("key-{n}"), String::new())).collect())),
        (format!("a value of {TOO_LARGE} bytes"), one("key", &"x".repeat(TOO_LARGE))),
        (format!("a key of {TOO_LARGE} bytes"), one(&"x".repeat(TOO_LARGE), "value")),
    ];
    // A secret may be any bytes.
    if !secrets {
        all.push(("an empty key".into(), one("", "value")));
        all.push(("a NUL in a key".into(), one("a\0b", "value")));
        all.push(("a line break in a key".into(), one("a\nb", "value")));
        all.push(("a NUL in a value".into(), one("key", "a\0b")));
        all.push((format!("a value of {TOO_LONG} bytes"), one("key", &"x".repeat(TOO_LONG))));
    }
    all
}
