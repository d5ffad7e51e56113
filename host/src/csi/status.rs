//! From domain errors to gRPC codes: the one table.

use crate::ops::Driver;
use bulkhead_domain::{Error, ErrorKind, Result, error::clean_text};
use std::{
    fmt::Display,
    future::Future,
    time::{Duration, Instant},
};
use tonic::{
    Code, Response, Status,
    codegen::http::{self, HeaderMap, HeaderValue},
};

/// Longest name or id in a log line, in bytes: longer ones are refused anyway.
const SUBJECT_BYTES: usize = 160;
/// How much earlier than at the client's limit a call is answered, at most.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);

/// The gRPC code of an error.
pub fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::OutOfRange => Code::OutOfRange,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::Aborted => Code::Aborted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::Unimplemented => Code::Unimplemented,
        ErrorKind::Internal => Code::Internal,
    }
}

/// The status of an error. Its details are empty, as the specification demands.
pub fn status(error: &Error) -> Status {
    Status::new(code(error.kind()), error.message())
}

/// Runs one RPC, if the driver offers it, and logs it in one line: errors of the client at `info`, the host's and backend's at `warn`, the rest at
/// `debug`. The request itself is never logged, only what it is about.
pub async fn answer<T>(
    driver: &Driver,
    rpc: &'static str,
    subject: impl Display,
    run: impl Future<Output = Result<T>>,
) -> std::result::Result<Response<T>, Status> {
    let offered = async {
        driver.check_offered(rpc)?;
        run.await
    };
    logged(driver.name(), rpc, subject, offered).await
}

/// Runs one RPC and logs it, as [`answer`], whether it is offered or not.
pub async fn logged<T>(
    driver: &str,
    rpc: &'static str,
    subject: impl Display,
    run: impl Future<Output = Result<T>>,
) -> std::result::Result<Response<T>, Status> {
    let start = Instant::now();
    let result = run.await;
    let us = start.elapsed().as_micros();
    match result {
        Ok(reply) => {
            tracing::debug!(driver, rpc, %subject, us, "ok");
            Ok(Response::new(reply))
        }
        Err(error) => {
            let (code, reason) = (code(error.kind()), error.message());
            match error.kind() {
                ErrorKind::Internal | ErrorKind::Unavailable | ErrorKind::DeadlineExceeded => {
                    tracing::warn!(driver, rpc, %subject, us, ?code, reason, "failed");
                }
                _ => tracing::info!(driver, rpc, %subject, us, ?code, reason, "refused"),
            }
            Err(status(&error))
        }
    }
}

/// What an RPC is about, for its log line: a client may send megabytes of it.
pub fn subject(text: &str) -> String {
    clean_text(text, SUBJECT_BYTES)
}

/// The time for a call whose client has set a limit, a little less than that: the answer must be there while the client
/// still listens, and before the gRPC library ends the call with CANCELLED, which says nothing.
pub fn timeout(headers: &tonic::metadata::MetadataMap) -> Option<Duration> {
    let limit = parse_timeout(headers.get("grpc-timeout")?.to_str().ok()?)?;
    Some(limit - (limit / 10).min(ANSWER_MARGIN))
}

/// Value of the header `grpc-timeout`: at most eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = (digits.len() <= 8).then(|| digits.parse().ok()).flatten()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Sets right what the gRPC library answers by itself: a message above its limit is RESOURCE_EXHAUSTED (it says
/// OUT_OF_RANGE, which has another meaning in CSI), bytes that are no message are INVALID_ARGUMENT (it says INTERNAL), and
/// an error without a message gets one.
pub fn correct<B>(mut response: http::Response<B>) -> http::Response<B> {
    const STATUS: &str = "grpc-status";
    const MESSAGE: &str = "grpc-message";
    const NO_MESSAGE: [&str; 3] =
        ["failed%20to%20decode", "Unexpected%20EOF%20decoding", "Missing%20request%20message"];
    let text = |headers: &HeaderMap, name: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let headers = response.headers_mut();
    let (status, message) = (text(headers, STATUS), text(headers, MESSAGE));
    let corrected = match status.as_str() {
        "" | "0" => None,
        "11" if message.contains("message%20length%20too%20large") => Some((Code::ResourceExhausted, None)),
        "13" if NO_MESSAGE.iter().any(|start| message.starts_with(start)) => Some((Code::InvalidArgument, None)),
        "12" if message.is_empty() => Some((Code::Unimplemented, Some("no%20such%20method"))),
        _ => None,
    };
    if let Some((code, message)) = corrected {
        headers.insert(STATUS, HeaderValue::from(code as i32));
        if let Some(message) = message {
            headers.insert(MESSAGE, HeaderValue::from_static(message));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        let parse = parse_timeout;
        assert_eq!(parse("10S"), Some(Duration::from_secs(10)));
        assert_eq!(parse("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "S", "10", "10x", "-1S", "999999999S"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        let mut headers = tonic::metadata::MetadataMap::new();
        assert_eq!(timeout(&headers), None);
        for (limit, time) in [("10S", 9900), ("200m", 180)] {
            headers.insert("grpc-timeout", limit.parse().unwrap());
            assert_eq!(timeout(&headers), Some(Duration::from_millis(time)));
        }
    }

    #[test]
    fn what_the_library_says_is_corrected() {
        let fix = |status: &'static str, message: &'static str| {
            let response =
                http::Response::builder().header("grpc-status", status).header("grpc-message", message).body(());
            let response = correct(response.unwrap());
            response.headers()["grpc-status"].to_str().unwrap().to_owned()
        };
        assert_eq!(fix("11", "Error,%20decoded%20message%20length%20too%20large:%20found"), "8");
        assert_eq!(fix("11", "the%20size"), "11");
        assert_eq!(fix("13", "failed%20to%20decode%20Protobuf%20message"), "3");
        assert_eq!(fix("13", "Unexpected%20EOF%20decoding%20stream."), "3");
        assert_eq!(fix("13", "Missing%20request%20message."), "3");
        assert_eq!(fix("13", "a%20bug"), "13");
    }
}
