//! Signatures, as moto and the proxy check them.

use crate::rig::{Kind, Rig, at_once};
use bulkhead_ec2::{Fault, Rules, Settings};
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
fn a_role_is_assumed_and_its_session_token_accepted() {
    let Some(rig) = Rig::new(Kind { role: Some("driver"), ..Kind::default() }) else { return };
    created(&rig).0.unwrap();
    assert_eq!(rig.proxy.stats().of("AssumeRole"), 1, "keys are kept until they end");
    // The assumed role's key, not the user's own, signed what EC2 was sent.
    let record = std::fs::read_to_string(&rig.record).unwrap();
    let sent: Vec<serde_json::Value> = record.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let made = sent.iter().find(|line| line["action"] == "CreateVolume").unwrap()["headers"].to_string();
    assert!(made.contains("x-amz-security-token"), "{made}");
    assert!(!made.contains(&rig.moto.key("driver").id), "{made}");
    rig.assert_sound();
    rig.assert_empty();
}

#[test]
fn a_role_that_may_not_be_assumed_is_refused_with_the_profiles_name() {
    let Some(rig) = Rig::new(Kind { user: "reader", role: Some("driver"), ..Kind::default() }) else { return };
    let status = created(&rig).0.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(status.message().contains("auth profile `aws`") && status.message().contains("AccessDenied"), "{status}");
    let stats = rig.proxy.stats();
    assert_eq!((stats.of("CreateVolume"), stats.unverified), (0, 0), "nothing is asked of EC2 in its place");
    rig.assert_empty();
}

#[test]
fn a_request_that_is_changed_on_its_way_is_refused() {
    let Some(rig) = Rig::new(Kind::default()) else { return };
    rig.proxy.plan("CreateVolume", Fault::Tampered);
    let status = created(&rig).0.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(status.message().contains("auth profile `aws`"), "{status}");
    let stats = rig.proxy.stats();
    assert_eq!((stats.met(Fault::Tampered), stats.unverified), (1, 0));
    rig.assert_empty();
    // What nobody changes is accepted.
    created(&rig).0.unwrap();
    rig.assert_sound();
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
    assert!(status.message().contains("clock skew"), "{status}");
}
