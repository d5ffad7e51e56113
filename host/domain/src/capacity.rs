//! CSI `CapacityRange`, in bytes.

/// What the client asked for: at least `required`, at most `limit`. At least one of them is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CapacityRange {
    required: Option<u64>,
    limit: Option<u64>,
}

impl CapacityRange {
    /// Takes bytes; 0 means "not set", as on the wire. `None` where neither is set.
    ///
    /// # Errors
    /// [`RangeError`] for a negative number or a limit below `required`.
    pub fn parse(required: i64, limit: i64) -> Result<Option<Self>, RangeError> {
        let bytes = |n: i64| u64::try_from(n).map_err(|_| RangeError::Negative);
        let set = |n: u64| (n > 0).then_some(n);
        let (required, limit) = (set(bytes(required)?), set(bytes(limit)?));
        match (required, limit) {
            (None, None) => Ok(None),
            (Some(r), Some(l)) if l < r => Err(RangeError::LimitBelowRequired { required: r, limit: l }),
            _ => Ok(Some(Self { required, limit })),
        }
    }

    /// Smallest size; none: any.
    pub fn required(&self) -> Option<u64> {
        self.required
    }

    /// Largest size; none: any.
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// `bytes` lies within the range.
    pub fn holds(&self, bytes: u64) -> bool {
        self.required.is_none_or(|r| bytes >= r) && self.limit.is_none_or(|l| bytes <= l)
    }
}

/// Why a range can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// INVALID_ARGUMENT.
    #[error("capacity_range holds a negative size")]
    Negative,
    /// OUT_OF_RANGE, as the specification's table for CreateVolume says.
    #[error("capacity_range.limit_bytes {limit} is below required_bytes {required}")]
    LimitBelowRequired {
        /// Bytes.
        required: u64,
        /// Bytes.
        limit: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse() {
        assert_eq!(CapacityRange::parse(0, 0), Ok(None));
        assert_eq!(CapacityRange::parse(-1, 0), Err(RangeError::Negative));
        assert_eq!(CapacityRange::parse(2, 1), Err(RangeError::LimitBelowRequired { required: 2, limit: 1 }));
        let range = CapacityRange::parse(10, 20).ok().flatten();
        assert!(range.is_some_and(|r| r.holds(10) && r.holds(20) && !r.holds(9) && !r.holds(21)));
        let open = CapacityRange::parse(10, 0).ok().flatten();
        assert!(open.is_some_and(|r| r.holds(u64::MAX) && !r.holds(9)));
    }
}
