//! Faults of every RPC, of calls at the same time and of calls that are given up; and what a driver is allowed.

use super::{Call, Fault, Hooks, fault};
use bulkhead_proto::v1;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tonic::{Code, Status};

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "error-details",
        "errors carry details beside the message",
        &["missing/DeleteVolume.volume_id", "validate/unknown"],
        |hooks| {
            hooks.errors(|_, status| {
                let details = b"see the log".to_vec().into();
                Status::with_details(status.code(), status.message(), details)
            });
        },
    ),
    fault(
        "error-without-message",
        "errors have no message",
        &["missing/DeleteVolume.volume_id", "validate/unknown"],
        |hooks| hooks.errors(|_, status| Status::new(status.code(), "")),
    ),
    fault(
        "error-with-secrets",
        "the error about a request has the whole request in it, with its secrets",
        &["missing/secret-values"],
        secrets_in_errors,
    ),
    fault("not-offered-is-invalid", "what is not offered is INVALID_ARGUMENT", &["not-offered/*"], |hooks| {
        hooks.errors(|rpc, status| {
            // Without the capabilities no suite would begin.
            if rpc.ends_with("get_capabilities") {
                status
            } else {
                as_other(status, Code::Unimplemented, Code::InvalidArgument)
            }
        });
    }),
    fault("invalid-is-internal", "what is wrong with a request is INTERNAL", &["missing/*"], |hooks| {
        hooks.errors(|_, status| as_other(status, Code::InvalidArgument, Code::Internal));
    }),
    fault(
        "conflict-is-internal",
        "a name that is taken by another request is INTERNAL",
        &["create-volume/repeat/larger", "create-volume/repeat/smaller-limit", "snapshot/other-source"],
        |hooks| hooks.errors(|_, status| as_other(status, Code::AlreadyExists, Code::Internal)),
    ),
    fault(
        "unknown-is-internal",
        "what isn't there is INTERNAL, as an error of the storage is that nobody looked at",
        &["validate/unknown", "expand/unknown", "snapshot/unknown-volume", "get-snapshot/unknown"],
        |hooks| hooks.errors(|_, status| as_other(status, Code::NotFound, Code::Internal)),
    ),
    fault(
        "no-room-is-internal",
        "a size that nobody has is INTERNAL: the pod is never tried elsewhere",
        &["create-volume/refused/too-large"],
        |hooks| {
            hooks.errors(|_, status| {
                let status = as_other(status, Code::ResourceExhausted, Code::Internal);
                as_other(status, Code::OutOfRange, Code::Internal)
            });
        },
    ),
    fault(
        "in-use-is-unknown",
        "an object in use is UNKNOWN, so that nobody waits until it is free",
        &["delete-volume/attached", "delete-volume/published"],
        |hooks| hooks.errors(|_, status| as_other(status, Code::FailedPrecondition, Code::Unknown)),
    ),
    fault(
        "busy-is-internal",
        "a second call about an object that is being worked on is INTERNAL, which is final",
        &["concurrent/create-volume", "concurrent/create-copy", "concurrent/snapshot"],
        busy_is_internal,
    ),
    fault(
        "lock-never-freed",
        "a CreateVolume that the client gave up keeps its name locked: ABORTED for ever",
        &["deadline/create-volume", "cancelled/create-volume"],
        lock_never_freed,
    ),
    fault(
        "names-looked-up-too-early",
        "two CreateVolume of one name at once both find the name free and make a volume",
        &["concurrent/create-volume"],
        looked_up_too_early,
    ),
    fault(
        "answer-too-long",
        "the volume context holds more than 4 KiB",
        &["create-volume/size", "create-volume/exact-size"],
        |hooks| {
            hooks.create_volume(|call, request| async move {
                let mut answer = call.create_volume(request).await?;
                if let Some(volume) = &mut answer.volume {
                    volume.volume_context.insert("layout".into(), "x".repeat(5000));
                }
                Ok(answer)
            });
        },
    ),
];

/// What a driver may do.
pub(super) const CONTROLS: &[Fault] = &[
    fault(
        "one-at-a-time",
        "every call waits for every other, and takes its time",
        &["concurrent/*", "cancelled/*", "deadline/*"],
        |hooks| {
            hooks.around(|call, _| async move {
                let lock = call.with(|lock: &mut Arc<tokio::sync::Mutex<()>>| lock.clone());
                let held = lock.lock_owned().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                held
            });
        },
    ),
    fault(
        "lost-answer",
        "the first CreateVolume of a name is done, and its answer is lost: DEADLINE_EXCEEDED",
        &["deadline/create-volume", "cancelled/create-volume"],
        |hooks| {
            hooks.create_volume(|call, request| async move {
                let first = call.with(|names: &mut BTreeSet<String>| names.insert(request.name.clone()));
                let answer = call.create_volume(request).await?;
                if first { Err(Status::deadline_exceeded("the answer was lost")) } else { Ok(answer) }
            });
        },
    ),
    fault(
        "small-pages",
        "pages hold at most two entries, whatever is asked for",
        &["list-volumes/complete", "list-volumes/pages", "list-volumes/rest", "list-snapshots/pages"],
        |hooks| {
            fn at_most_two(max_entries: i32) -> i32 {
                if max_entries == 0 { 2 } else { max_entries.min(2) }
            }
            hooks.list_volumes(|call, mut request| async move {
                request.max_entries = at_most_two(request.max_entries);
                call.list_volumes(request).await
            });
            hooks.list_snapshots(|call, mut request| async move {
                request.max_entries = at_most_two(request.max_entries);
                call.list_snapshots(request).await
            });
        },
    ),
    fault(
        "size-not-told",
        "CreateVolume does not tell the size",
        &["create-volume/size", "create-volume/exact-size", "create-volume/repeat/same"],
        |hooks| {
            hooks.create_volume(|call, request| async move {
                let mut answer = call.create_volume(request).await?;
                answer.volume.iter_mut().for_each(|volume| volume.capacity_bytes = 0);
                Ok(answer)
            });
        },
    ),
];

/// The status with another code, if it has that one.
fn as_other(status: Status, code: Code, other: Code) -> Status {
    if status.code() == code { Status::new(other, status.message()) } else { status }
}

fn secrets_in_errors(hooks: &mut Hooks) {
    fn with(status: &Status, secrets: &BTreeMap<String, String>) -> Status {
        // As a map of no message: those hide their secrets.
        Status::new(status.code(), format!("{}: secrets {secrets:?}", status.message()))
    }
    hooks.create_volume(|call, request| async move {
        let secrets = request.secrets.clone();
        call.create_volume(request).await.map_err(|status| with(&status, &secrets))
    });
    hooks.create_snapshot(|call, request| async move {
        let secrets = request.secrets.clone();
        call.create_snapshot(request).await.map_err(|status| with(&status, &secrets))
    });
}

/// Volumes and snapshots that are being made, by name; and how many calls are at it.
#[derive(Default)]
struct Making(BTreeMap<String, u32>);

impl Making {
    /// How many there were before this one.
    fn begin(call: &Call, name: &str) -> u32 {
        call.with(|making: &mut Self| {
            let count = making.0.entry(name.to_owned()).or_default();
            *count += 1;
            *count - 1
        })
    }

    fn end(call: &Call, name: &str) {
        call.with(|making: &mut Self| {
            if let Some(count) = making.0.get_mut(name) {
                *count -= 1;
            }
        });
    }
}

/// Long enough that calls that were made at once meet, and that a short deadline passes.
const MEANWHILE: Duration = Duration::from_millis(30);

fn busy_is_internal(hooks: &mut Hooks) {
    fn busy() -> Status {
        Status::internal("an operation with this name is under way")
    }
    hooks.create_volume(|call, request| async move {
        let name = request.name.clone();
        let first = Making::begin(&call, &name) == 0;
        tokio::time::sleep(MEANWHILE).await;
        let answer = if first { call.create_volume(request).await } else { Err(busy()) };
        Making::end(&call, &name);
        answer
    });
    hooks.create_snapshot(|call, request| async move {
        let name = request.name.clone();
        let first = Making::begin(&call, &name) == 0;
        tokio::time::sleep(MEANWHILE).await;
        let answer = if first { call.create_snapshot(request).await } else { Err(busy()) };
        Making::end(&call, &name);
        answer
    });
}

fn lock_never_freed(hooks: &mut Hooks) {
    hooks.create_volume(|call, request: v1::CreateVolumeRequest| async move {
        let name = request.name.clone();
        if Making::begin(&call, &name) > 0 {
            Making::end(&call, &name);
            return Err(Status::aborted("an operation with this name is under way"));
        }
        tokio::time::sleep(MEANWHILE).await;
        let answer = call.create_volume(request).await;
        // Not reached when the client gives up.
        Making::end(&call, &name);
        answer
    });
}

fn looked_up_too_early(hooks: &mut Hooks) {
    hooks.create_volume(|call, mut request| async move {
        let name = request.name.clone();
        let others = Making::begin(&call, &name);
        tokio::time::sleep(MEANWHILE).await;
        if others > 0 {
            request.name += &format!("-{others}");
        }
        let answer = call.create_volume(request).await;
        Making::end(&call, &name);
        answer
    });
}
