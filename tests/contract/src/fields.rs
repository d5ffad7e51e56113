//! Messages by reflection: limits on what the driver answers, and spoiled requests.

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
    prost::Message,
};
use std::{collections::HashMap, sync::OnceLock};

/// Longest string unless the field says otherwise, in bytes.
pub const STRING: usize = 128;
/// Largest map, keys and values together, in bytes.
pub const MAP: usize = 4096;
/// Longest node id, in bytes.
pub const NODE_ID: usize = 256;

/// The descriptor of a message of `csi.v1`, like `CreateVolumeRequest`.
pub fn descriptor(message: &str) -> Option<MessageDescriptor> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| DescriptorPool::decode(bulkhead_proto::FILE_DESCRIPTOR_SET).ok());
    pool.as_ref()?.get_message_by_name(&format!("csi.v1.{message}"))
}

/// The message as one that can be looked through.
pub fn reflect<M: Message>(name: &str, message: &M) -> Option<DynamicMessage> {
    DynamicMessage::decode(descriptor(name)?, message.encode_to_vec().as_slice()).ok()
}

/// How long a string field may be; nothing if the specification sets no limit that a suite can hold anybody to.
pub fn limit(field: &FieldDescriptor) -> Option<usize> {
    match field.name() {
        // Text for people, and paths, of which only the least is set.
        "message" => None,
        // They have a limit together.
        "mount_flags" => None,
        name if name.ends_with("_path") => None,
        "node_id" | "published_node_ids" => Some(NODE_ID),
        _ => Some(STRING),
    }
}

/// Which limits of the specification an answer breaks.
pub fn over_limits(message: &DynamicMessage) -> Vec<String> {
    let mut wrong = vec![];
    for (field, value) in message.fields() {
        over(&field, value, &mut wrong);
    }
    wrong
}

fn over(field: &FieldDescriptor, value: &Value, wrong: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if let Some(limit) = limit(field).filter(|limit| text.len() > *limit) {
                wrong.push(format!("{} has {} bytes, at most {limit} are allowed", field.full_name(), text.len()));
            }
        }
        Value::Message(inner) => wrong.extend(over_limits(inner)),
        Value::List(values) if field.name() == "mount_flags" => {
            let bytes: usize = values.iter().filter_map(Value::as_str).map(str::len).sum();
            if bytes > MAP {
                wrong.push(format!("{} has {bytes} bytes together, at most {MAP} are allowed", field.full_name()));
            }
        }
        Value::List(values) => values.iter().for_each(|value| over(field, value, wrong)),
        Value::Map(map) => {
            let len =
                |key: &MapKey, value: &Value| key.as_str().map_or(0, str::len) + value.as_str().map_or(0, str::len);
            let bytes: usize = map.iter().map(|(key, value)| len(key, value)).sum();
            if bytes > MAP {
                wrong.push(format!("{} has {bytes} bytes, at most {MAP} are allowed", field.full_name()));
            }
        }
        _ => {}
    }
}

/// A request with one field set beyond its limit.
#[derive(Debug, Clone)]
pub struct Spoiled {
    /// Names from the outermost in, with dots.
    pub field: String,
    /// What is wrong with it.
    pub how: String,
    /// The request.
    pub message: DynamicMessage,
}

/// One spoiled request for each string and each map of `message` that has a limit. Secrets are left out: drivers take larger
/// ones because certificates don't fit.
pub fn oversized(message: &DynamicMessage) -> Vec<Spoiled> {
    let mut all = vec![];
    for field in message.descriptor().fields() {
        if field.is_map() {
            if field.name() != "secrets" {
                let pair = (MapKey::String("key".into()), Value::String("x".repeat(MAP)));
                let value = Value::Map(HashMap::from([pair]));
                all.push(with(message, &field, format!("a map of {} bytes", MAP + 3), value));
            }
            continue;
        }
        if field.name() == "mount_flags" {
            let flags = vec![Value::String("x".repeat(100)); MAP / 100 + 1];
            all.push(with(message, &field, format!("{} bytes together", (MAP / 100 + 1) * 100), Value::List(flags)));
            continue;
        }
        match field.kind() {
            Kind::String => {
                let Some(limit) = limit(&field) else { continue };
                let text = Value::String("x".repeat(limit + 1));
                let value = if field.is_list() { Value::List(vec![text]) } else { text };
                all.push(with(message, &field, format!("{} bytes", limit + 1), value));
            }
            Kind::Message(_) => {
                // Only what the request has: made-up messages would be wrong for other reasons.
                for deeper in inside(message, &field).map(|inner| oversized(&inner)).unwrap_or_default() {
                    let value = Value::Message(deeper.message);
                    let value = if field.is_list() { Value::List(vec![value]) } else { value };
                    let mut spoiled = with(message, &field, deeper.how, value);
                    spoiled.field = format!("{}.{}", field.name(), deeper.field);
                    all.push(spoiled);
                }
            }
            _ => {}
        }
    }
    all
}

/// Values that nobody expects in one field: control characters, paths, negative numbers, unknown enum values.
pub fn odd(message: &DynamicMessage) -> Vec<Spoiled> {
    let mut all = vec![];
    for field in message.descriptor().fields().filter(|field| !field.is_map()) {
        let values: Vec<Value> = match field.kind() {
            Kind::String => ["a\0b", "a\nb", "\u{1b}[2J", "../../..", "/", "%s%n", "-1"]
                .map(|text| Value::String(text.into()))
                .into(),
            Kind::Int32 => [-1, i32::MIN, i32::MAX].map(Value::I32).into(),
            Kind::Int64 => [-1, i64::MIN, i64::MAX].map(Value::I64).into(),
            Kind::Enum(_) => [-1, 0, 99].map(Value::EnumNumber).into(),
            _ => inside(message, &field)
                .map(|inner| odd(&inner))
                .unwrap_or_default()
                .into_iter()
                .map(|s| Value::Message(s.message))
                .collect(),
        };
        for value in values {
            let how = format!("{value:?}");
            let value = if field.is_list() { Value::List(vec![value]) } else { value };
            all.push(with(message, &field, how, value));
        }
    }
    all
}

/// The request without the field of that name; names from the outermost in, with dots. Of lists the first entry is meant.
pub fn without(message: &DynamicMessage, field: &str) -> Option<DynamicMessage> {
    let (first, rest) = field.split_once('.').map_or((field, None), |(first, rest)| (first, Some(rest)));
    let descriptor = message.descriptor().get_field_by_name(first)?;
    let mut message = message.clone();
    let Some(rest) = rest else {
        message.clear_field(&descriptor);
        return Some(message);
    };
    let inner = Value::Message(without(&inside(&message, &descriptor)?, rest)?);
    message.set_field(&descriptor, if descriptor.is_list() { Value::List(vec![inner]) } else { inner });
    Some(message)
}

/// The message in a field, or the first of a list; nothing if the request has none.
fn inside(message: &DynamicMessage, field: &FieldDescriptor) -> Option<DynamicMessage> {
    if !message.has_field(field) {
        return None;
    }
    let value = message.get_field(field);
    value.as_message().or_else(|| value.as_list()?.first()?.as_message()).cloned()
}

fn with(message: &DynamicMessage, field: &FieldDescriptor, how: String, value: Value) -> Spoiled {
    let mut message = message.clone();
    message.set_field(field, value);
    Spoiled { field: field.name().to_owned(), how, message }
}
