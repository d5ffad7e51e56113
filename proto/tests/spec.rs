//! The descriptor says what CSI 1.13 says, and what 1.12 said besides; no more and no less.

mod support;

use std::collections::BTreeSet;

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, ServiceDescriptor, Syntax,
};

#[test]
fn descriptor_equals_the_tables() {
    let pool = support::pool();
    let wanted = support::table();
    let found = Facts::of(&pool);
    let list = |facts: Vec<&String>| facts.iter().map(|f| format!("\n  {f}")).collect::<String>();
    let missing = list(wanted.difference(&found).collect());
    let extra = list(found.difference(&wanted).collect());
    assert!(missing.is_empty() && extra.is_empty(), "missing in csi.proto:{missing}\nonly in csi.proto:{extra}");
}

#[test]
fn file_is_proto3_without_comments() {
    let pool = support::pool();
    let ours: Vec<_> = pool.files().filter(|f| f.package_name() == "csi.v1").collect();
    assert_eq!(ours.len(), 1);
    assert_eq!(ours[0].syntax(), Syntax::Proto3);
    assert!(ours[0].file_descriptor_proto().source_code_info.is_none());
}

/// Turns descriptors into lines of the form that the tables have.
struct Facts<'a> {
    pool: &'a DescriptorPool,
    lines: BTreeSet<String>,
}

impl<'a> Facts<'a> {
    fn of(pool: &'a DescriptorPool) -> BTreeSet<String> {
        let lines = BTreeSet::new();
        let mut facts = Facts { pool, lines };
        facts.options();
        for service in pool.services().filter(|s| s.package_name() == "csi.v1") {
            facts.service(&service);
        }
        for descriptor in pool.all_enums().filter(|e| e.package_name() == "csi.v1") {
            facts.enumeration(&descriptor);
        }
        for message in pool.all_messages() {
            if message.package_name() == "csi.v1" && !message.is_map_entry() {
                facts.message(&message);
            }
        }
        facts.lines
    }

    fn options(&mut self) {
        for option in self.pool.all_extensions() {
            self.lines.insert(format!(
                "option {} = {} {} on {}",
                option.name(),
                option.number(),
                kind(&option.kind()),
                option.containing_message().full_name()
            ));
        }
    }

    fn service(&mut self, service: &ServiceDescriptor) {
        let alpha = self.mark(&service.options(), "alpha_service", "alpha");
        self.lines.insert(format!("service {}{alpha}", service.name()));
        for rpc in service.methods() {
            let stream = |is: bool| if is { "stream " } else { "" };
            self.lines.insert(format!(
                "rpc {}.{} ({}{}) returns ({}{}){}",
                service.name(),
                rpc.name(),
                stream(rpc.is_client_streaming()),
                short(rpc.input().full_name()),
                stream(rpc.is_server_streaming()),
                short(rpc.output().full_name()),
                self.mark(&rpc.options(), "alpha_method", "alpha"),
            ));
        }
    }

    fn enumeration(&mut self, descriptor: &EnumDescriptor) {
        let name = short(descriptor.full_name());
        let alpha = self.mark(&descriptor.options(), "alpha_enum", "alpha");
        self.lines.insert(format!("enum {name}{alpha}"));
        for value in descriptor.values() {
            let alpha = self.mark(&value.options(), "alpha_enum_value", "alpha");
            self.lines.insert(format!("value {name}.{} = {}{alpha}", value.name(), value.number()));
        }
    }

    fn message(&mut self, message: &MessageDescriptor) {
        let name = short(message.full_name());
        let alpha = self.mark(&message.options(), "alpha_message", "alpha");
        self.lines.insert(format!("message {name}{alpha}"));
        for field in message.fields() {
            let oneof = field.containing_oneof().map(|oneof| format!(" in {}", oneof.name()));
            self.lines.insert(format!(
                "field {name}.{} = {} {}{}{}{}",
                field.name(),
                field.number(),
                field_type(&field),
                oneof.unwrap_or_default(),
                self.mark(&field.options(), "alpha_field", "alpha"),
                self.mark(&field.options(), "csi_secret", "secret"),
            ));
        }
    }

    /// ` word` if the option is set, otherwise nothing.
    fn mark(&self, options: &DynamicMessage, option: &str, word: &str) -> String {
        let extension = self
            .pool
            .get_extension_by_name(&format!("csi.v1.{option}"))
            .unwrap_or_else(|| panic!("csi.proto declares no option {option}"));
        match options.get_extension(&extension).as_bool() {
            Some(true) => format!(" {word}"),
            _ => String::new(),
        }
    }
}

fn field_type(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => format!(
            "map<{}, {}>",
            kind(&entry.map_entry_key_field().kind()),
            kind(&entry.map_entry_value_field().kind())
        ),
        other if field.is_list() => format!("repeated {}", kind(&other)),
        other => kind(&other),
    }
}

/// The spelling of a type in a proto file; `Debug` of a built-in one is its name.
fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => short(message.full_name()).to_owned(),
        Kind::Enum(descriptor) => short(descriptor.full_name()).to_owned(),
        scalar => format!("{scalar:?}"),
    }
}

fn short(full_name: &str) -> &str {
    full_name.strip_prefix("csi.v1.").unwrap_or(full_name)
}
