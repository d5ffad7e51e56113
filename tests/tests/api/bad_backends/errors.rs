//! Errors that a backend returns.

use super::ground::{Call, bad, has_line, is_proper};
use crate::sandboxed;
use bulkhead_tests::HostBuilder;
use tonic::Code;

/// The case of the WIT's error, and its code from a call that may have had an effect.
const CODES: [(&str, Code); 17] = [
    ("invalid-argument", Code::InvalidArgument),
    ("not-found", Code::NotFound),
    ("already-exists", Code::AlreadyExists),
    ("resource-exhausted", Code::ResourceExhausted),
    ("failed-precondition", Code::FailedPrecondition),
    ("out-of-range", Code::OutOfRange),
    ("permission-denied", Code::PermissionDenied),
    ("unauthenticated", Code::Unauthenticated),
    ("pending", Code::Aborted),
    ("pending-large", Code::Aborted),
    ("pending-control", Code::Aborted),
    ("unavailable", Code::Unavailable),
    ("unknown-outcome", Code::Unavailable),
    ("internal", Code::Unavailable),
    ("empty", Code::InvalidArgument),
    ("long", Code::InvalidArgument),
    ("control", Code::InvalidArgument),
];

#[test]
fn every_error_has_its_code_from_every_call() {
    sandboxed(async |s| {
        let host = HostBuilder::new(&s, [bad(&s, "bad", "")]).start();
        let client = host.client().await;
        for call in Call::ALL {
            for (case, code) in CODES {
                // Without an effect `internal` is what it says.
                let code = if case == "internal" { call.code_of_a_fault() } else { code };
                let what = format!("error-{case} from {call:?}");
                let status = call.run(&client, &format!("error-{case}")).await.expect_err(&what);
                assert_eq!(status.code(), code, "{what}: {status}");
                is_proper(&status, &what);
                assert_eq!(status.message(), message(case, &status), "{what}");
            }
        }
        for line in host.log().lines() {
            assert!(line.len() < 2048 && !line.chars().any(char::is_control), "{line}");
        }
        // The escaped text is all on one line, behind what the host says.
        assert!(has_line(&host.log(), &["bad.csi.bulkhead.dev", "CreateVolume", "forged=true"]), "{}", host.log());
    });
}

/// What the client must read.
fn message(case: &str, status: &tonic::Status) -> String {
    match case {
        "pending-control" => "a\\nb".into(),
        "empty" => "(no message)".into(),
        "long" => {
            assert!(status.message().len() > 1000 && status.message().ends_with("(cut)"), "{status}");
            status.message().into()
        }
        "control" => "a\\u{1b}[31m\\r\\n\\u{0}level=error forged=true\\u{7f}b".into(),
        _ => "as asked for".into(),
    }
}

#[test]
fn a_validation_that_says_no_at_length_is_cut() {
    sandboxed(async |s| {
        let host = HostBuilder::new(&s, [bad(&s, "bad", "")]).start();
        let client = host.client().await;
        let request = bulkhead_proto::v1::ValidateVolumeCapabilitiesRequest {
            volume_id: Call::Validate.subject("refuse-long"),
            volume_capabilities: vec![bulkhead_tests::client::capability(bulkhead_tests::client::Use::Block)],
            ..Default::default()
        };
        let answer = client.controller.clone().validate_volume_capabilities(request).await.unwrap().into_inner();
        assert!(answer.confirmed.is_none());
        assert!(answer.message.len() <= 1024 && answer.message.ends_with("(cut)"), "{}", answer.message.len());
    });
}
