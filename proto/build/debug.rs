//! Writes the Debug of every message that could show a secret, and a lookup of messages by name.

use std::fmt::Write;

use prost_reflect::{DescriptorPool, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor};

/// What `generate` made.
pub struct Generated {
    /// Rust items, to be included in the module of the generated messages.
    pub code: String,
    /// Protobuf paths of the messages whose own Debug must not be generated elsewhere.
    pub replaced: Vec<String>,
}

/// How a field appears in Debug.
enum Shown {
    Whole,
    /// Only how many entries it has.
    Counted,
    /// A string map: all but the entries that are secret by their key.
    Filtered,
}

/// Goes through the messages of `package`. Fails if a secret is of a shape that it has no rule for.
pub fn generate(pool: &DescriptorPool, package: &str) -> Result<Generated, String> {
    let secret_name = format!("{package}.csi_secret");
    let secret = pool
        .get_extension_by_name(&secret_name)
        .ok_or_else(|| format!("the proto declares no option {secret_name}"))?;
    let messages: Vec<_> = pool.all_messages().filter(|m| m.package_name() == package && !m.is_map_entry()).collect();

    let mut code = String::new();
    let mut replaced = Vec::new();
    for message in &messages {
        if let Some(text) = debug_impl(message, &secret)? {
            code.push_str(&text);
            replaced.push(format!(".{}", message.full_name()));
        }
    }
    code.push_str(&lookup(&messages));
    Ok(Generated { code, replaced })
}

/// The Debug of `message`, or nothing if the derived one is safe.
///
/// A message that merely contains another one is safe: the inner Debug hides what must be hidden.
fn debug_impl(message: &MessageDescriptor, secret: &ExtensionDescriptor) -> Result<Option<String>, String> {
    let mut lines = String::new();
    let mut needed = false;
    for field in message.fields() {
        let name = field.name();
        let shown = shown(&field, secret)?;
        needed |= !matches!(shown, Shown::Whole);
        let value = match shown {
            Shown::Whole => format!("&self.{name}"),
            Shown::Counted => format!("&crate::redact::Counted(self.{name}.len())"),
            Shown::Filtered => format!("&crate::redact::Filtered(&self.{name})"),
        };
        let _ = writeln!(lines, "            .field({name:?}, {value})");
    }
    if !needed {
        return Ok(None);
    }
    // A member of a oneof isn't a field of the struct, and prost's `skip_debug` would reach nested types too.
    let nested = message.child_messages().any(|m| !m.is_map_entry());
    if nested || message.child_enums().len() > 0 || message.oneofs().len() > 0 {
        return Err(format!(
            "{}: a message with a secret, mount_flags or a map must hold no oneof and no nested type; \
             extend build/debug.rs",
            message.full_name()
        ));
    }
    Ok(Some(format!(
        "impl ::core::fmt::Debug for {} {{\n    \
             fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n        \
                 f.debug_struct({:?})\n{lines}            .finish()\n    \
             }}\n\
         }}\n",
        rust_path(message),
        upper_camel(message.name()),
    )))
}

fn shown(field: &FieldDescriptor, secret: &ExtensionDescriptor) -> Result<Shown, String> {
    let marked = field.options().get_extension(secret).as_bool() == Some(true);
    if marked || field.name() == "mount_flags" {
        if field.is_list() || field.is_map() {
            return Ok(Shown::Counted);
        }
        return Err(format!("{}: neither a list nor a map; say in build/debug.rs how it is hidden", field.full_name()));
    }
    // Any string map may carry service account tokens: the CO fills volume_context, and drivers and
    // class parameters are copied from one map to another.
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let strings =
                [entry.map_entry_key_field(), entry.map_entry_value_field()].iter().all(|f| f.kind() == Kind::String);
            if strings { Ok(Shown::Filtered) } else { Err(format!("{}: not a map of strings", field.full_name())) }
        }
        _ => Ok(Shown::Whole),
    }
}

/// A function that decodes a message by its full name, for tests.
fn lookup(messages: &[MessageDescriptor]) -> String {
    let mut arms = String::new();
    for message in messages {
        let _ = writeln!(arms, "        {:?} => boxed::<{}>(bytes),", message.full_name(), rust_path(message));
    }
    format!(
        "pub(crate) fn decode_by_name(full_name: &str, bytes: &[u8]) \
             -> Option<Box<dyn ::core::fmt::Debug>> {{\n    \
             fn boxed<M: ::prost::Message + Default + ::core::fmt::Debug + 'static>(bytes: &[u8]) \
                 -> Option<Box<dyn ::core::fmt::Debug>> {{\n        \
                 Some(Box::new(M::decode(bytes).ok()?))\n    \
             }}\n    \
             match full_name {{\n{arms}        _ => None,\n    }}\n\
         }}\n"
    )
}

/// Where prost puts a message, seen from the module of its package: `outer_message::Inner`.
fn rust_path(message: &MessageDescriptor) -> String {
    let mut path = upper_camel(message.name());
    let mut outer = message.parent_message();
    while let Some(parent) = outer {
        path = format!("{}::{path}", words(parent.name()).join("_"));
        outer = parent.parent_message();
    }
    path
}

/// A message name in prost's spelling: `RPC` becomes `Rpc`.
fn upper_camel(name: &str) -> String {
    words(name).iter().map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// The words of a CamelCase ASCII name, in lower case. A wrong split fails to compile, it can't go unseen.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut after_upper = true;
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if after_upper || c.is_lowercase() => word.push(c.to_ascii_lowercase()),
            _ => words.push(c.to_ascii_lowercase().to_string()),
        }
        after_upper = c.is_uppercase();
    }
    words
}
