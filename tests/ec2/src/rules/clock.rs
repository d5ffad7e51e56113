//! The time of a signature.

use crate::{Reply, Rules, sigv4};
use http::HeaderMap;
use std::time::{Duration, SystemTime};

/// The proxy's time.
pub(crate) fn now(rules: &Rules) -> SystemTime {
    let offset = Duration::from_secs(rules.clock_offset_s.unsigned_abs());
    if rules.clock_offset_s < 0 { SystemTime::now() - offset } else { SystemTime::now() + offset }
}

/// EC2's answer to a request that was signed at another time: RequestExpired if it is too old; one from the future can't be
/// told from a forged one.
pub(crate) fn wrong_clock(rules: &Rules, headers: &HeaderMap) -> Option<Reply> {
    // Without a date there is no signature, and others refuse that.
    let signed = sigv4::signed_at(headers)?;
    let (now, skew) = (now(rules), Duration::from_secs(rules.clock_skew_s));
    if now.duration_since(signed).is_ok_and(|ago| ago > skew) {
        return Some(Reply::refused("RequestExpired", "Request has expired."));
    }
    let ahead = signed.duration_since(now).is_ok_and(|ahead| ahead > skew);
    let message = "AWS was not able to validate the provided access credentials";
    ahead.then(|| Reply::error(401, "AuthFailure", message))
}
