//! Sizes: all in bytes.

use crate::types::{CapacityRange, Error, Result};

/// 1024 bytes.
pub const KIB: u64 = 1 << 10;
/// 1024 [`KIB`].
pub const MIB: u64 = 1 << 20;
/// 1024 [`MIB`].
pub const GIB: u64 = 1 << 30;
/// 1024 [`GIB`].
pub const TIB: u64 = 1 << 40;

/// The smallest multiple of `granularity` that isn't less than `bytes`; `None` if it doesn't fit in 64 bits.
/// A granularity of 0 counts as 1.
pub fn round_up(bytes: u64, granularity: u64) -> Option<u64> {
    bytes.checked_next_multiple_of(granularity.max(1))
}

/// The largest multiple of `granularity` that isn't more than `bytes`. A granularity of 0 counts as 1.
pub fn round_down(bytes: u64, granularity: u64) -> u64 {
    bytes - bytes % granularity.max(1)
}

/// Which sizes a storage system can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRules {
    /// Size of a volume whose client doesn't care.
    pub default: u64,
    /// Smallest volume.
    pub min: u64,
    /// Largest volume.
    pub max: u64,
    /// Sizes are multiples of this.
    pub granularity: u64,
}

impl SizeRules {
    /// 1 GiB if nothing is asked for, any size otherwise.
    pub const ANY: Self = Self { default: GIB, min: 1, max: i64::MAX as u64, granularity: 1 };
}

/// The size that a volume gets: the least that is enough, rounded up to what the storage system can make. With no
/// size required it is the default, or less if the limit is below that.
///
/// # Errors
/// `out-of-range` if no possible size lies between what is required and the limit.
pub fn choose_size(range: Option<&CapacityRange>, rules: &SizeRules) -> Result<u64> {
    let required = range.and_then(|range| range.required);
    let limit = range.and_then(|range| range.limit).unwrap_or(u64::MAX).min(rules.max);
    let wanted = required.unwrap_or_else(|| rules.default.min(round_down(limit, rules.granularity)));
    match round_up(wanted.max(rules.min), rules.granularity) {
        Some(size) if size <= limit => Ok(size),
        _ => Err(Error::out_of_range(refusal(required, range.and_then(|range| range.limit), rules))),
    }
}

fn refusal(required: Option<u64>, limit: Option<u64>, rules: &SizeRules) -> String {
    let required = required.map_or_else(|| "any".to_owned(), |bytes| format!("at least {}", show(bytes)));
    let limit = limit.map_or_else(String::new, |bytes| format!(", at most {}", show(bytes)));
    let SizeRules { min, max, granularity, .. } = *rules;
    format!(
        "size {required}{limit} can't be had: volumes have {} to {}, in steps of {}",
        show(min),
        show(max),
        show(granularity)
    )
}

/// `1610612736` as `1.5 GiB`, `1000` as `1000 B`: exact where that is short, otherwise with two digits.
pub fn show(bytes: u64) -> String {
    let (unit, name) = match bytes {
        TIB.. => (TIB, "TiB"),
        GIB.. => (GIB, "GiB"),
        MIB.. => (MIB, "MiB"),
        KIB.. => (KIB, "KiB"),
        _ => return format!("{bytes} B"),
    };
    let (whole, hundredths) = (bytes / unit, bytes % unit * 100 / unit);
    match hundredths {
        0 => format!("{whole} {name}"),
        tenths if tenths % 10 == 0 => format!("{whole}.{} {name}", tenths / 10),
        _ => format!("{whole}.{hundredths:02} {name}"),
    }
}

/// `20`, `20B`, `20Mi`, `20MiB`, `20 MiB` and their like up to `Ti`; 1024-based. `None` for everything else, among it
/// `20M` and `20MB`, which different people read as different sizes.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim_start() {
        "" | "B" => 1,
        "Ki" | "KiB" => KIB,
        "Mi" | "MiB" => MIB,
        "Gi" | "GiB" => GIB,
        "Ti" | "TiB" => TIB,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: SizeRules = SizeRules { default: 10 * GIB, min: GIB, max: 16 * TIB, granularity: GIB };

    fn choose(required: Option<u64>, limit: Option<u64>) -> Result<u64> {
        choose_size(Some(&CapacityRange { required, limit }), &DISK)
    }

    #[test]
    fn sizes_are_enough_and_no_more() {
        assert_eq!(choose_size(None, &DISK), Ok(10 * GIB));
        assert_eq!(choose(Some(1), None), Ok(GIB));
        assert_eq!(choose(Some(GIB + 1), None), Ok(2 * GIB));
        assert_eq!(choose(Some(GIB), Some(GIB)), Ok(GIB));
        assert_eq!(choose(None, Some(100 * GIB)), Ok(10 * GIB));
        assert_eq!(choose(None, Some(5 * GIB + 7)), Ok(5 * GIB));
        assert_eq!(choose(Some(16 * TIB), None), Ok(16 * TIB));
    }

    #[test]
    fn impossible_sizes_are_out_of_range() {
        for (required, limit) in [
            (Some(GIB + 1), Some(2 * GIB - 1)),
            (Some(16 * TIB + 1), None),
            (Some(u64::MAX), None),
            (Some(2), Some(1)),
            (None, Some(GIB - 1)),
            (None, Some(0)),
        ] {
            assert!(matches!(choose(required, limit), Err(Error::OutOfRange(_))), "{required:?} {limit:?}");
        }
        let error = choose(Some(16 * TIB + 1), None).unwrap_err();
        assert_eq!(
            error.message(),
            "size at least 16 TiB can't be had: volumes have 1 GiB to 16 TiB, in steps of 1 GiB"
        );
    }

    #[test]
    fn rounding_knows_the_end_of_the_numbers() {
        assert_eq!(round_up(0, 512), Some(0));
        assert_eq!(round_up(513, 512), Some(1024));
        assert_eq!(round_up(u64::MAX, 512), None);
        assert_eq!(round_up(5, 0), Some(5));
        assert_eq!(round_down(513, 512), 512);
        assert_eq!(round_down(5, 0), 5);
    }

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes) in
            [("0", 0), ("20", 20), ("7B", 7), ("20Mi", 20 * MIB), ("20 MiB", 20 * MIB), (" 3TiB ", 3 * TIB)]
        {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "B", "-1", "1.5Gi", "20M", "20MB", "18446744073709551616", "18014398509481984Ki", "1 0"] {
            assert_eq!(parse(text), None, "{text}");
        }
        let shown = [
            (0, "0 B"),
            (1000, "1000 B"),
            (GIB * 3 / 2, "1.5 GiB"),
            (GIB + GIB / 4, "1.25 GiB"),
            (5 * TIB, "5 TiB"),
            (MIB + 1, "1 MiB"),
        ];
        for (bytes, text) in shown {
            assert_eq!(show(bytes), text);
        }
    }
}
