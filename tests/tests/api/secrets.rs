//! Secrets and mount flags reach no log, no message and no disk, whatever is logged and whatever goes wrong.

use crate::{
    bad_requests::ground::{Ground, SENTINEL, methods, path},
    sandboxed,
};
use bulkhead_proto::v1;
use bulkhead_tests::{
    Driver, HostBuilder, Sandbox,
    client::{Use, capability_with, create_request},
    host, raw,
};
use prost_reflect::{DynamicMessage, Kind, MapKey, MessageDescriptor, Value, prost::Message};
use std::{
    collections::HashMap,
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    rc::Rc,
};
use tonic::Code;

/// Key under which Kubernetes passes credentials in a map that is not marked secret.
const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// A message with the sentinel in every secret field and mount flag, and something plausible in every other one.
fn full_of_secrets(descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    let map = |key: &str| Value::Map(HashMap::from([(MapKey::String(key.into()), Value::String(SENTINEL.into()))]));
    for field in descriptor.fields() {
        let value = match (field.name(), field.kind()) {
            ("secrets", _) => map("password"),
            ("mount_flags", _) => Value::List(vec![Value::String(format!("x-token={SENTINEL}"))]),
            ("volume_context", _) => map(TOKENS),
            (name, Kind::String) if !field.is_list() && !field.is_map() => {
                Value::String(if name.ends_with("_path") { "/nowhere".into() } else { "some".into() })
            }
            (_, Kind::Message(inner)) if depth > 0 && !field.is_map() => {
                let inner = Value::Message(full_of_secrets(&inner, depth - 1));
                if field.is_list() { Value::List(vec![inner]) } else { inner }
            }
            (_, Kind::Enum(_)) => Value::EnumNumber(1),
            (_, Kind::Int64) => Value::I64(1 << 20),
            _ => continue,
        };
        // Of a oneof the last one stays: mount access, which is the one with flags, is set again below.
        message.set_field(&field, value);
        if let (Some(mount), "block") = (descriptor.get_field_by_name("mount"), field.name())
            && let Kind::Message(inner) = mount.kind()
        {
            message.set_field(&mount, Value::Message(full_of_secrets(&inner, 0)));
        }
    }
    message
}

fn has_secrets(descriptor: &MessageDescriptor, depth: usize) -> bool {
    descriptor.fields().any(|field| match field.kind() {
        _ if matches!(field.name(), "secrets" | "mount_flags") => true,
        Kind::Message(inner) if depth > 0 && !field.is_map() => has_secrets(&inner, depth - 1),
        _ => false,
    })
}

fn shows(bytes: &[u8]) -> bool {
    bytes.windows(SENTINEL.len()).any(|window| window == SENTINEL.as_bytes())
}

/// Files below `dir` with the sentinel in them. Mounted file systems belong to their users.
fn files_with_secrets(dir: &Path) -> Vec<String> {
    let mut found = vec![];
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if path.to_string_lossy().contains(SENTINEL) {
            found.push(path.display().to_string());
        }
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_file() {
            found.extend(shows(&fs::read(&path).unwrap()).then(|| path.display().to_string()));
        }
    }
    found
}

/// Calls everything with secrets everywhere: what succeeds, what is refused, and what the kernel refuses.
async fn use_secrets_everywhere(ground: &Ground) {
    let mut with_secrets = 0;
    for method in methods() {
        let message = full_of_secrets(&method.input(), 3);
        let has = has_secrets(&method.input(), 3);
        assert!(!has || shows(&message.encode_to_vec()), "{} is not full of secrets", method.name());
        with_secrets += usize::from(has);
        for bytes in [message.encode_to_vec(), [message.encode_to_vec(), vec![0x0f]].concat()] {
            if let Err(status) = raw::call(&ground.client.channel, &path(&method), bytes).await {
                assert!(!format!("{status:?}").contains(SENTINEL), "{}: {status:?}", method.name());
            }
        }
    }
    assert_eq!(with_secrets, 23, "RPCs with secrets or mount flags: is a new one covered?");
    kernel_refuses_flags(ground).await;
    for good in ground.good() {
        let answer = raw::call(&ground.client.channel, &path(&good.method), good.message.encode_to_vec()).await;
        assert!(answer.is_ok(), "{}: {answer:?}", good.method.name());
        if good.method.name() == "NodePublishVolume" {
            // The moment at which most is on record.
            assert_eq!(files_with_secrets(&ground.sandbox.path().join("state")), Vec::<String>::new());
            assert_eq!(ground.sandbox.journal(&ground.sandbox.path().join("state")).len(), 2);
        }
    }
}

/// The kernel knows no such option of ext4, and says so with the option in it.
async fn kernel_refuses_flags(ground: &Ground) {
    let request = create_request("pvc-flags", 64 << 20, Use::Mount("ext4"), &[]);
    let volume = ground.client.create(request).await.unwrap();
    for flag in
        [format!("{SENTINEL}=1"), SENTINEL.to_owned(), format!("journal_path={SENTINEL}"), format!("ro,{SENTINEL}")]
    {
        let mode = v1::volume_capability::access_mode::Mode::SingleNodeWriter;
        let cap = capability_with(Use::Mount("ext4"), mode, &[&flag]);
        let status = ground.client.stage(&volume, cap).await.unwrap_err();
        assert!([Code::FailedPrecondition, Code::InvalidArgument].contains(&status.code()), "{status}");
        assert!(!format!("{status:?}").contains(SENTINEL), "{status:?}");
    }
    ground.client.delete(&volume.volume_id).await.unwrap();
}

async fn nothing_is_written(sandbox: Rc<Sandbox>, format: &'static str) {
    bulkhead_tests::secrets::plant(SENTINEL);
    let builder = HostBuilder::new(&sandbox, [Driver { csi: "1.13", ..Driver::local(&sandbox) }]);
    let host = builder.log_format(format).env("BULKHEAD_LOG", "trace").start();
    let ground = Ground::of(sandbox.clone(), host).await;
    use_secrets_everywhere(&ground).await;
    let log = ground.host.log();
    let shown: Vec<_> = log.lines().filter(|line| line.contains(SENTINEL)).collect();
    assert_eq!(shown, Vec::<&str>::new());
    // It is not silence that keeps the secret.
    assert!(log.contains("DEBUG") && log.contains("NodePublishVolume") && log.lines().count() > 40, "{log}");
    assert_eq!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), format == "json");
    for dir in ["state", "pool", "kubelet"] {
        assert_eq!(files_with_secrets(&sandbox.path().join(dir)), Vec::<String>::new(), "{dir}");
    }
}

#[test]
fn no_secret_is_logged_or_kept_at_any_level_as_text() {
    sandboxed(async |s| nothing_is_written(s, "text").await);
}

#[test]
fn no_secret_is_logged_or_kept_at_any_level_as_json() {
    sandboxed(async |s| nothing_is_written(s, "json").await);
}

/// What a backend says passes through the host: values of the call's secrets are masked in it. (This one says `as asked
/// for` and `line 42`, which the client makes secrets here.)
#[test]
fn secrets_in_what_a_backend_says_are_masked() {
    sandboxed(async |s| {
        let host = HostBuilder::new(&s, [Driver::bad(&s)]).start();
        let client = host.client().await;
        let delete = async |volume_id: &str, secret: &str| {
            let secrets = [("password".to_owned(), secret.to_owned())].into();
            let request = v1::DeleteVolumeRequest { volume_id: volume_id.into(), secrets };
            client.controller.clone().delete_volume(request).await
        };
        let status = delete("delete.error-not-found--1", "as asked").await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "<redacted> for"));
        delete("delete.log-many--1", "line 42").await.unwrap();
        let log = host.log();
        assert!(log.contains("line 41") && log.contains("<redacted>") && !log.contains("line 42"), "{log}");
    });
}

/// Memory of the host holds secrets of calls in flight. A process like any other is killed the same way, to show that
/// this machine would write a core.
#[test]
fn a_core_of_the_host_is_never_written() {
    sandboxed(async |s| {
        let dies = |mut command: Command, ready: &dyn Fn() -> bool| {
            command.current_dir(s.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let start = std::time::Instant::now();
            while !ready() && start.elapsed().as_secs() < 30 {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            let pid = rustix::process::Pid::from_child(&child);
            let unlimited = rustix::process::Rlimit { current: None, maximum: None };
            rustix::process::prlimit(Some(pid), rustix::process::Resource::Core, unlimited).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::QUIT).unwrap();
            child.wait().unwrap()
        };
        let mut other = Command::new("sleep");
        other.arg("60");
        let other = dies(other, &|| true);
        assert_eq!(other.signal(), Some(3));
        if !other.core_dumped() {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "no process dumps core here, and CI=true forbids to skip"
            );
            eprintln!("NOT RUN: no process dumps core on this machine (kernel.core_pattern)");
            return;
        }
        let builder = HostBuilder::new(&s, [Driver::plain("example")]);
        let socket = builder.socket("example.csi.bulkhead.dev");
        let mut host = Command::new(host::binary());
        host.args(["serve", "--config"]).arg(builder.write_config());
        let ended = dies(host, &|| std::os::unix::net::UnixStream::connect(&socket).is_ok());
        assert_eq!((ended.signal(), ended.core_dumped()), (Some(3), false));
    });
}
