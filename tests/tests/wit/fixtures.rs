//! One real volume of each storage system, written down as WAVE text: what CreateVolume asks and gets, what attaching
//! asks and gets, and the plan. They must have the types of the WIT package; what a vendor needs and the package can't
//! say would show here first.

use bulkhead_tests::components::resolve;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use wasm_wave::value::{Type, Value, resolve_wit_type};
use wasm_wave::wasm::WasmValue;
use wit_parser::Resolve;

/// Folder, and whether the storage system has to let a node in before it can use the volume.
const SYSTEMS: [(&str, bool); 16] = [
    ("aws-ebs", true),
    ("azure-disk", true),
    ("ceph-rbd", false),
    ("dell-powerscale", true),
    ("dell-xtremio", true),
    ("glusterfs", false),
    ("local-directory", false),
    ("local-image", false),
    ("lvm", false),
    ("netapp-ontap", true),
    ("nfs", false),
    ("nutanix", true),
    ("portworx", true),
    ("pure-flasharray", true),
    ("pure-flasharray-nvme", true),
    ("smb", false),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The type of that name, for WAVE.
fn wave_type(resolve: &Resolve, interface: &str, name: &str) -> Type {
    let package = resolve.packages.iter().find(|(_, package)| package.name.namespace == "bulkhead").unwrap().1;
    let id = resolve.interfaces[package.interfaces[interface]].types[name];
    resolve_wit_type(resolve, id).unwrap()
}

/// Reads a value of that type, or says where it isn't one.
fn parse(ty: &Type, text: &str) -> Result<Value, String> {
    wasm_wave::from_str::<Value>(ty, text).map_err(|error| {
        let at = text.get(error.span()).unwrap_or_default();
        format!("{error} at `{}`", at.chars().take(60).collect::<String>())
    })
}

/// All values of one system.
struct Fixture {
    request: Value,
    volume: Value,
    publish: Option<(Value, Value)>,
    plan_request: Value,
    plan: Value,
}

impl Fixture {
    fn read(resolve: &Resolve, directory: &Path, attaches: bool) -> Result<Self, String> {
        let read = |file: &str, interface: &str, name: &str| {
            let path = directory.join(file).with_extension("wave");
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            parse(&wave_type(resolve, interface, name), &text).map_err(|error| format!("{}: {error}", path.display()))
        };
        let publish = if attaches {
            let request = read("publish-request", "attachment", "publish-request")?;
            Some((request, read("publish-context", "types", "string-map")?))
        } else {
            None
        };
        Ok(Self {
            request: read("create-volume-request", "types", "create-volume-request")?,
            volume: read("volume", "types", "volume")?,
            publish,
            plan_request: read("plan-request", "node", "plan-request")?,
            plan: read("plan", "plan-types", "plan")?,
        })
    }
}

fn field(record: &Value, name: &str) -> Value {
    record.unwrap_record().find(|(field, _)| field == name).unwrap_or_else(|| panic!("no field {name}")).1.into_owned()
}

fn map(value: &Value) -> Vec<(String, String)> {
    let pair = |entry: Vec<String>| (entry[0].clone(), entry[1].clone());
    value
        .unwrap_list()
        .map(|entry| pair(entry.unwrap_tuple().map(|text| text.unwrap_string().into_owned()).collect()))
        .collect()
}

#[test]
fn every_system_can_be_said_in_the_wit() {
    let (resolve, _) = resolve(&[]).unwrap();
    let mut accesses = BTreeSet::new();
    for (system, attaches) in SYSTEMS {
        let fixture = Fixture::read(&resolve, &fixtures().join(system), attaches).unwrap();
        accesses.insert(field(&fixture.plan, "access").unwrap_variant().0.into_owned());
        agrees_with_itself(system, &fixture);
        keeps_the_limits(system, &fixture);
    }
    assert_eq!(accesses, access_cases(&resolve), "each way to reach a volume is used by a fixture");
}

fn access_cases(resolve: &Resolve) -> BTreeSet<String> {
    let package = resolve.packages.iter().find(|(_, package)| package.name.namespace == "bulkhead").unwrap().1;
    let id = resolve.interfaces[package.interfaces["plan-types"]].types["access"];
    match &resolve.types[id].kind {
        wit_parser::TypeDefKind::Variant(access) => access.cases.iter().map(|case| case.name.clone()).collect(),
        other => panic!("access is a {}", other.as_str()),
    }
}

/// What one call answers is what the next is asked.
fn agrees_with_itself(system: &str, fixture: &Fixture) {
    let (volume, plan) = (&fixture.volume, &fixture.plan_request);
    for name in ["volume-id", "context"] {
        assert_eq!(field(plan, name), field(volume, name), "{system}: {name} of the plan's request");
    }
    let capability = field(&fixture.request, "capabilities").unwrap_list().next().unwrap().into_owned();
    assert_eq!(field(plan, "capability"), capability, "{system}: capability of the plan's request");
    match &fixture.publish {
        Some((request, answer)) => {
            for name in ["volume-id", "context", "node", "capability"] {
                assert_eq!(field(request, name), field(plan, name), "{system}: {name} of the publish request");
            }
            assert_eq!(field(plan, "publish-context"), *answer, "{system}: publish context");
        }
        None => {
            assert!(map(&field(plan, "publish-context")).is_empty(), "{system}: context of a call that doesn't exist")
        }
    }
    let stored = field(volume, "request-digest");
    if let Some(stored) = stored.unwrap_option() {
        assert_eq!(stored.into_owned(), field(&fixture.request, "request-digest"), "{system}: request digest");
    }
    let required = field(&field(&fixture.request, "capacity").unwrap_option().unwrap(), "required");
    let size = field(volume, "capacity-bytes").unwrap_u64();
    assert!(size >= required.unwrap_option().unwrap().unwrap_u64(), "{system}: smaller than required");
}

/// Ids and contexts are what the host takes.
fn keeps_the_limits(system: &str, fixture: &Fixture) {
    let id = field(&fixture.volume, "volume-id").unwrap_string().into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:=@/-".contains(c);
    assert!(
        id.len() <= 128 && id.chars().all(plain) && !id.split('/').any(|segment| segment == ".."),
        "{system}: {id}"
    );
    assert_eq!(field(&fixture.request, "request-digest").unwrap_string().len(), 64, "{system}");
    let publish = fixture.publish.iter().map(|(_, answer)| map(answer));
    for context in publish.chain([map(&field(&fixture.volume, "context"))]) {
        let bytes: usize = context.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(bytes <= 4096, "{system}: {bytes} bytes of context");
        for (key, value) in context {
            let word = format!("{key}={value}").to_lowercase();
            let secret = ["password", "secret", "token", "passphrase"].iter().any(|hint| word.contains(hint));
            assert!(!secret, "{system}: a context is stored in the clear: {key}");
        }
    }
}

#[test]
fn no_fixture_is_forgotten() {
    let there: BTreeSet<String> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let listed: BTreeSet<String> = SYSTEMS.iter().map(|(system, _)| (*system).to_owned()).collect();
    assert_eq!(there, listed);
    for (system, attaches) in SYSTEMS {
        let files = std::fs::read_dir(fixtures().join(system)).unwrap().count();
        assert_eq!(files, if attaches { 6 } else { 4 }, "files of {system}");
    }
}

#[test]
fn what_the_wit_does_not_know_is_refused() {
    let (resolve, _) = resolve(&[]).unwrap();
    let plan = wave_type(&resolve, "plan-types", "plan");
    let good = std::fs::read_to_string(fixtures().join("netapp-ontap/plan.wave")).unwrap();
    parse(&plan, &good).unwrap();
    for (from, to) in [
        ("lun: 7", "logical-unit: 7"),
        ("lun: 7", "lun: \"7\""),
        ("lun: 7", "lun: -1"),
        ("iscsi(", "infiniband("),
        ("multipath: required", "multipath: perhaps"),
        ("    multipath: required,\n", ""),
        ("key: \"chap.password\"", "value: \"hunter2\""),
        ("}),\n  usage", "}, 1),\n  usage"),
    ] {
        assert_eq!(good.matches(from).count(), 1, "{from}");
        let error = parse(&plan, &good.replace(from, to)).expect_err(to);
        assert!(!error.is_empty());
    }
}

#[test]
fn a_missing_file_is_an_error() {
    let (resolve, _) = resolve(&[]).unwrap();
    let missing = Fixture::read(&resolve, &fixtures().join("hal-9000"), false);
    assert!(missing.is_err_and(|error| error.contains("hal-9000")));
    // A system without attachment has no publish values.
    let attaching = Fixture::read(&resolve, &fixtures().join("nfs"), true);
    assert!(attaching.is_err_and(|error| error.contains("publish-request")));
}
