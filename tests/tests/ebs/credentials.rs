//! Signatures, as moto and the proxy check them.

use crate::rig::{Kind, Rig, at_once};
use bulkhead_ec2::{Rules, Settings};
use bulkhead_tests::client::{Use, create_request};
use tonic::{Code, Status};

const GIB: i64 = 1 << 30;

/// What CreateVolume answers, and the host's log.
fn created(rig: &Rig) -> (Result<(), Status>, String) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer = runtime.block_on(async {
        let client = rig.client().await;
        let volume = client.create(create_request("pvc-1", GIB, Use::Block, &[])).await?;
        client.delete(&volume.volume_id).await
    });
    (answer, rig.host.log())
}

#[test]
fn the_right_key_is_accepted() {
    let Some(rig) = Rig::new(Kind::default()) else { return };
    created(&rig).0.unwrap();
    rig.assert_sound();
    rig.assert_empty();
}

#[test]
fn a_wrong_key_is_refused_with_the_profiles_name() {
    let Some(rig) = Rig::new(Kind { wrong_key: true, ..Kind::default() }) else { return };
    let (answer, log) = created(&rig);
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(status.message().contains("auth profile `aws`"), "{status}");
    assert!(!log.contains("wrongwrong") && !status.message().contains("wrongwrong"));
    rig.assert_empty();
}

#[test]
fn who_may_only_look_makes_nothing() {
    let Some(rig) = Rig::new(Kind { user: "reader", ..Kind::default() }) else { return };
    let status = created(&rig).0.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    rig.assert_empty();
}

#[test]
fn a_clock_that_is_off_is_named() {
    let settings = Settings { rules: Rules { clock_offset_s: 3600, ..Rules::at_once() }, ..at_once() };
    let Some(rig) = Rig::new(Kind { settings, ..Kind::default() }) else { return };
    let status = created(&rig).0.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(status.message().contains("clock"), "{status}");
}
