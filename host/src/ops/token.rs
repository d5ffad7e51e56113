//! Paging tokens that clients see.
//!
//! A backend's own token is wrapped with a checksum over the driver's name and the list. So a token of another driver, of
//! another list or one that somebody made up is refused with ABORTED (as the specification wants for a bad
//! `starting_token`) before the backend sees it. It is not a secret and no proof of anything.

use bulkhead_domain::{Error, Result, limits};
use sha2::{Digest, Sha256};

/// Longest token of a backend in bytes. The specification has no limit of its own for tokens, and its 128 bytes for all other strings
/// are too few for most storage systems'.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// Wraps a backend's token for the client: nine bytes more.
pub fn wrap(driver: &str, list: &str, token: &str) -> String {
    format!("{}.{token}", checksum(driver, list, token))
}

/// Gives the backend's token back; none for an empty one.
///
/// # Errors
/// ABORTED for a token that this driver did not give out for this list.
pub fn unwrap(driver: &str, list: &str, token: &str) -> Result<Option<String>> {
    if token.is_empty() {
        return Ok(None);
    }
    let bad = || Error::aborted("starting_token is not one that this driver gave out: start the listing again");
    let (sum, inner) = token.split_once('.').ok_or_else(bad)?;
    if limits::text("token", inner, MAX_TOKEN_BYTES).is_err() || sum != checksum(driver, list, inner) {
        return Err(bad());
    }
    Ok(Some(inner.to_owned()))
}

fn checksum(driver: &str, list: &str, token: &str) -> String {
    let mut hash = Sha256::new();
    for part in [driver, list, token] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..4])
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::ErrorKind;

    #[test]
    fn only_our_own_tokens_come_back() {
        let token = wrap("d", "volumes", "fast/v-1");
        assert_eq!(unwrap("d", "volumes", &token), Ok(Some("fast/v-1".into())));
        assert_eq!(unwrap("d", "volumes", ""), Ok(None));
        for bad in ["x", "-1", "a.b", &token[1..], &format!("{token}00")] {
            assert_eq!(unwrap("d", "volumes", bad).unwrap_err().kind(), ErrorKind::Aborted, "{bad}");
        }
        assert!(unwrap("e", "volumes", &token).is_err() && unwrap("d", "snapshots", &token).is_err());
        let long = "t".repeat(MAX_TOKEN_BYTES);
        assert_eq!(unwrap("d", "volumes", &wrap("d", "volumes", &long)), Ok(Some(long.clone())));
        assert!(unwrap("d", "volumes", &wrap("d", "volumes", &(long + "t"))).is_err());
    }
}
