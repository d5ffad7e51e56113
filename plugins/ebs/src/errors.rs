//! What EC2's error codes mean: one table, and how long to wait where waiting helps.

use bulkhead_sdk::http::Response;
use bulkhead_sdk::prelude::*;
use std::time::Duration;

/// EC2 didn't do it. `code` is empty where it wasn't EC2 who said so.
#[derive(Debug, PartialEq)]
pub struct Fault {
    pub code: String,
    pub error: Error,
}

impl Fault {
    pub fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// What was asked for doesn't exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self.error, Error::NotFound(_))
    }

    /// It may have happened all the same.
    pub fn is_uncertain(&self) -> bool {
        matches!(self.error, Error::UnknownOutcome(_))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { code: String::new(), error }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

/// Too many requests; nothing was done.
pub fn is_throttle(code: &str) -> bool {
    matches!(code, "RequestLimitExceeded" | "Throttling" | "ThrottlingException" | "RequestThrottled")
}

/// Between changes of one volume EC2 wants hours. Long enough that nobody waits for it within a call.
const COOL_DOWN: Duration = Duration::from_secs(600);
/// Between snapshots of one volume.
const PER_VOLUME: Duration = Duration::from_secs(15);
const SHORTLY: Duration = Duration::from_secs(2);

type Make = fn(String) -> Error;

/// Codes and the outcome that they stand for.
const TABLE: [(&str, Make); 10] = [
    (
        "AuthFailure ExpiredToken ExpiredTokenException IncompleteSignature InvalidClientTokenId InvalidSecurity \
         MissingAuthenticationToken RequestExpired SignatureDoesNotMatch UnrecognizedClientException",
        Error::unauthenticated,
    ),
    (
        "AccessDenied AccessDeniedException Blocked OptInRequired PendingVerification UnauthorizedOperation",
        Error::permission_denied,
    ),
    (
        "InvalidInstanceID.Malformed InvalidInstanceID.NotFound InvalidSnapshot.NotFound InvalidSnapshotID.Malformed \
         InvalidVolume.NotFound InvalidVolumeID.Malformed InvalidVolumeID.NotFound",
        Error::not_found,
    ),
    (
        "AttachmentLimitExceeded ConcurrentSnapshotLimitExceeded InsufficientVolumeCapacity MaxIOPSLimitExceeded \
         PendingSnapshotLimitExceeded SnapshotLimitExceeded VolumeIOPSLimit VolumeLimitExceeded",
        Error::exhausted,
    ),
    (
        "InvalidBlockDeviceMapping InvalidKmsKey.InvalidKeyUsage InvalidKmsKey.InvalidState InvalidKmsKey.NotFound \
         InvalidParameter InvalidParameterCombination InvalidParameterDependency InvalidParameterValue InvalidTagKey.Malformed \
         InvalidZone.NotFound MissingParameter TagLimitExceeded UnknownParameter UnknownVolumeType.InvalidVolumeType \
         ValidationError",
        Error::invalid,
    ),
    ("InvalidSnapshot.InUse InvalidVolume.ZoneMismatch UnsupportedOperation VolumeInUse", Error::precondition),
    (
        "ConcurrentTagAccess IdempotentParameterMismatch IncorrectInstanceState IncorrectModificationState IncorrectState",
        |text| Error::pending(text).retry_after(SHORTLY),
    ),
    ("SnapshotCreationPerVolumeRateExceeded", |text| Error::pending(text).retry_after(PER_VOLUME)),
    ("VolumeModificationRateExceeded", |text| Error::pending(text).retry_after(COOL_DOWN)),
    // What everybody gets who asks for what isn't there.
    ("InvalidAttachment.NotFound InvalidVolumeModification.NotFound", Error::not_found),
];

/// The outcome that `code` stands for; `text` says what was asked and what EC2 said.
pub fn of(code: &str, reply: &Response, writes: bool, text: String) -> Error {
    if is_throttle(code) {
        return Error::unavailable(text).retry_after(reply.retry_after().unwrap_or(Duration::from_secs(1)));
    }
    let known = TABLE.iter().find(|(codes, _)| codes.split(' ').any(|known| known == code));
    match known {
        Some((_, make)) => make(text),
        // `InternalError`, `Unavailable`, `ServiceUnavailable` and whatever else is no answer.
        None if reply.status >= 500 && writes => Error::unknown_outcome(text),
        None if reply.status >= 500 => Error::unavailable(text),
        // A refusal that nobody knows. It is one, so nothing was done.
        None => Error::precondition(text),
    }
}
