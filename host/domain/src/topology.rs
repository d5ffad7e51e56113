//! Places: CSI `Topology`.

use crate::{StringMap, limits};

/// One place: all segments together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topology {
    /// `prefix/name` to value.
    pub segments: StringMap,
}

impl Topology {
    /// Checks keys (an optional prefix of at most 253 bytes and a name of at most 63) and values (at most 63 bytes)
    /// as the specification wants them.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn check(&self) -> Result<(), limits::Violation> {
        if self.segments.is_empty() {
            return Err("a topology has no segment".into());
        }
        limits::map("topology", &self.segments)?;
        for (key, value) in &self.segments {
            check_key(key)?;
            let value_ok = value.len() <= limits::TOPOLOGY_VALUE_BYTES
                && value.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
                && [value.chars().next(), value.chars().last()]
                    .iter()
                    .all(|c| c.is_none_or(|c| c.is_ascii_alphanumeric()));
            if !value_ok {
                return Err(format!("the value of topology key {key:?} is not a label value of at most 63 bytes"));
            }
        }
        Ok(())
    }
}

/// Checks one topology key.
///
/// # Errors
/// Says which rule is broken.
pub fn check_key(key: &str) -> Result<(), limits::Violation> {
    let (prefix, name) = key.split_once('/').unwrap_or(("", key));
    let word = |s: &str, extra: &str| {
        s.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
            && s.starts_with(|c: char| c.is_ascii_alphanumeric())
            && s.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    let prefix_ok = !key.contains('/') || (prefix.len() <= 253 && word(prefix, ".-"));
    if prefix_ok && (1..=63).contains(&name.len()) && word(name, "._-") {
        Ok(())
    } else {
        Err("a topology key is not of the form prefix/name".into())
    }
}

/// CSI `TopologyRequirement`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct TopologyRequirement {
    /// One of these must be able to reach the volume; the order carries no meaning.
    pub requisite: Vec<Topology>,
    /// Best first.
    pub preferred: Vec<Topology>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values() {
        for good in ["zone", "topology.example.com/zone", "a/b_c.d-e"] {
            assert_eq!(check_key(good), Ok(()), "{good}");
        }
        for bad in ["", "/", "a/", "/b", "a/b/c", "-a/b", "a b", &format!("p/{}", "x".repeat(64))] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
        let topology = |v: &str| Topology { segments: [("z".to_owned(), v.to_owned())].into() };
        assert!(topology("eu-1a").check().is_ok() && topology("").check().is_ok());
        assert!(topology(&"x".repeat(64)).check().is_err() && topology("-a").check().is_err());
    }
}
