//! CSI's limits on strings, maps and lists ("Size Limits" in the specification), checked in one place for what clients
//! send and for what backends answer.

use crate::StringMap;

/// Longest string unless the field says otherwise, in bytes.
pub const STRING_BYTES: usize = 128;
/// Largest map, keys and values added up, in bytes.
pub const MAP_BYTES: usize = 4096;
/// Longest CSI node id, in bytes.
pub const NODE_ID_BYTES: usize = 256;
/// Longest path that is accepted, in bytes (PATH_MAX of Linux, less the NUL).
pub const PATH_BYTES: usize = 4095;
/// Longest value of a topology segment, in bytes.
pub const TOPOLOGY_VALUE_BYTES: usize = 63;
/// Longest list that crosses the border to a backend.
pub const LIST_ENTRIES: usize = 1000;
/// Largest size: CSI carries sizes as signed 64-bit numbers.
pub const MAX_BYTES: u64 = i64::MAX as u64;

/// A string that breaks a limit: what is wrong, without the string itself.
pub type Violation = String;

/// Checks length (in bytes, at most `max`) and that there is no control character. Empty is fine.
///
/// # Errors
/// Says which limit `what` breaks.
pub fn text(what: &str, value: &str, max: usize) -> Result<(), Violation> {
    if value.len() > max {
        return Err(format!("{what} is {} bytes long, at most {max} are allowed", value.len()));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("{what} holds a control character"));
    }
    Ok(())
}

/// As [`text`], and not empty.
///
/// # Errors
/// Says which limit `what` breaks.
pub fn required_text(what: &str, value: &str, max: usize) -> Result<(), Violation> {
    if value.is_empty() {
        return Err(format!("{what} is missing"));
    }
    text(what, value, max)
}

/// Checks the sum of all keys and values (at most [`MAP_BYTES`]) and that none holds a NUL. Keys may not be empty.
///
/// # Errors
/// Says which limit `what` breaks; no value appears in it.
pub fn map(what: &str, map: &StringMap) -> Result<(), Violation> {
    map_pairs(what, map.iter().map(|(k, v)| (k.as_str(), v.as_str())))
}

/// As [`map`](fn@map), over any pairs.
///
/// # Errors
/// Says which limit `what` breaks; no value appears in it.
pub fn map_pairs<'a>(what: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<(), Violation> {
    let mut sum = 0usize;
    for (key, value) in pairs {
        sum = sum.saturating_add(key.len()).saturating_add(value.len());
        if sum > MAP_BYTES {
            return Err(format!("{what} is larger than {MAP_BYTES} bytes, keys and values added up"));
        }
        if key.is_empty() {
            return Err(format!("{what} has an empty key"));
        }
        if key.chars().any(char::is_control) {
            return Err(format!("{what} has a key with a control character"));
        }
        if value.contains('\0') {
            return Err(format!("{what} has a value with a NUL"));
        }
    }
    Ok(())
}

/// Checks an id that a backend made: 1 to 128 bytes of `[A-Za-z0-9._:=@/-]`, not absolute, no empty, `.` or `..`
/// segment. What passes can stand in a path, a log line and a label.
///
/// # Errors
/// Says which rule `what` breaks.
pub fn id(what: &str, value: &str) -> Result<(), Violation> {
    required_text(what, value, STRING_BYTES)?;
    if let Some(c) = value.chars().find(|c| !(c.is_ascii_alphanumeric() || "._:=@/-".contains(*c))) {
        return Err(format!("{what} holds {c:?}; allowed are letters, digits and . _ : = @ / -"));
    }
    if value.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(format!("{what} has an empty, '.' or '..' segment"));
    }
    Ok(())
}

/// Checks the name of a pool or of an object in one: 1 to 128 bytes of `[A-Za-z0-9._-]`, not starting with a dot.
///
/// # Errors
/// Says which rule `what` breaks.
pub fn object_name(what: &str, value: &str) -> Result<(), Violation> {
    required_text(what, value, STRING_BYTES)?;
    if value.starts_with('.') || !value.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return Err(format!("{what} may hold letters, digits and . _ - and may not start with a dot"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids() {
        for good in ["a", "pool/vol-1", "vol-0abc", "name=_=_=7=_=_=zone", "pvc@1:2"] {
            assert_eq!(id("id", good), Ok(()), "{good}");
        }
        for bad in ["", "../../etc", "/abs", "a//b", "a/./b", "a/..", "a b", "a\0", "ä", &"x".repeat(129), "a\n"] {
            assert!(id("id", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn maps() {
        let small: StringMap = [("k".to_owned(), "v".to_owned())].into();
        assert_eq!(map("m", &small), Ok(()));
        let large: StringMap = [("k".to_owned(), "v".repeat(MAP_BYTES))].into();
        assert!(map("m", &large).is_err_and(|e| !e.contains("vvv")));
        let many: StringMap = (0..10_000).map(|n| (format!("k{n}"), String::new())).collect();
        assert!(map("m", &many).is_err());
    }

    proptest! {
        #[test]
        fn an_id_that_passes_stays_below_its_root(value in "\\PC{0,140}") {
            if id("id", &value).is_ok() {
                let path = std::path::Path::new(&value);
                prop_assert!(path.components().all(|c| matches!(c, std::path::Component::Normal(_))));
            }
        }
    }
}
