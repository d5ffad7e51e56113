//! Kubelet's plugin registration: the names and numbers that a kubelet of any version sends and expects.

use bulkhead_proto::registration::{
    CSI_PLUGIN, CSI_VERSION, FILE_DESCRIPTOR_SET, InfoRequest, PluginInfo, RegistrationStatus,
    RegistrationStatusResponse, registration_server,
};
use prost::Message;
use prost_reflect::{DescriptorPool, Kind};

/// Every fact of the published interface.
const FACTS: [&str; 12] = [
    "field PluginInfo.endpoint = 3 string",
    "field PluginInfo.name = 2 string",
    "field PluginInfo.supported_versions = 4 repeated string",
    "field PluginInfo.type = 1 string",
    "field RegistrationStatus.error = 2 string",
    "field RegistrationStatus.plugin_registered = 1 bool",
    "message InfoRequest",
    "message PluginInfo",
    "message RegistrationStatus",
    "message RegistrationStatusResponse",
    "rpc Registration.GetInfo (InfoRequest) returns (PluginInfo)",
    "rpc Registration.NotifyRegistrationStatus (RegistrationStatus) returns (RegistrationStatusResponse)",
];

#[test]
fn the_descriptor_says_what_kubernetes_says() {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("a valid descriptor set");
    let mut facts = vec![];
    for message in pool.all_messages() {
        assert_eq!(message.package_name(), "pluginregistration");
        facts.push(format!("message {}", message.name()));
        for field in message.fields() {
            let kind = match field.kind() {
                Kind::String => "string",
                Kind::Bool => "bool",
                other => panic!("{}: {other:?}", field.full_name()),
            };
            let repeated = if field.is_list() { "repeated " } else { "" };
            facts.push(format!("field {}.{} = {} {repeated}{kind}", message.name(), field.name(), field.number()));
        }
    }
    for service in pool.services() {
        for rpc in service.methods() {
            assert!(!rpc.is_client_streaming() && !rpc.is_server_streaming());
            let (input, output) = (rpc.input(), rpc.output());
            let (service, rpc) = (service.name(), rpc.name());
            facts.push(format!("rpc {service}.{rpc} ({}) returns ({})", input.name(), output.name()));
        }
    }
    facts.sort();
    assert_eq!(facts, FACTS);
    assert_eq!(registration_server::SERVICE_NAME, "pluginregistration.Registration");
}

#[test]
fn the_bytes_are_those_of_the_wire() {
    let info = PluginInfo {
        r#type: CSI_PLUGIN.into(),
        name: "a.b".into(),
        endpoint: "/s".into(),
        supported_versions: vec![CSI_VERSION.into()],
    };
    assert_eq!(info.encode_to_vec(), b"\x0a\x09CSIPlugin\x12\x03a.b\x1a\x02/s\x22\x051.0.0");
    let refused = RegistrationStatus { plugin_registered: false, error: "no".into() };
    assert_eq!(refused.encode_to_vec(), b"\x12\x02no");
    let registered = RegistrationStatus::decode(&b"\x08\x01"[..]).expect("a message");
    assert_eq!(registered, RegistrationStatus { plugin_registered: true, error: String::new() });
    assert!(InfoRequest {}.encode_to_vec().is_empty() && RegistrationStatusResponse {}.encode_to_vec().is_empty());
}
