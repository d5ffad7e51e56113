//! What a disk says about itself, and whether it is the one that is meant.
//!
//! SCSI: SPC-5, vital product data pages 0x80 (unit serial number) and 0x83 (device identification).

use bulkhead_domain::plan::DeviceIdentity;

/// The serial number of a VPD page 0x80, trimmed. None: the page is no such page, or empty.
pub(super) fn vpd_serial(page: &[u8]) -> Option<String> {
    text(body(page, 0x80)?)
}

/// The best NAA or EUI-64 name of the logical unit in a VPD page 0x83, lower-case hexadecimal; NAA before EUI.
pub(super) fn vpd_wwid(page: &[u8]) -> Option<String> {
    let mut rest = body(page, 0x83)?;
    let mut best: Option<(u8, String)> = None;
    while let [code_set, kind, _, length, tail @ ..] = rest {
        let name = tail.get(..usize::from(*length))?;
        rest = &tail[usize::from(*length)..];
        let (of_the_unit, binary) = ((kind >> 4) & 3 == 0, code_set & 0xf == 1);
        // 3: NAA. 2: EUI-64. What names a port or a target, or is the vendor's own, does not name the unit.
        let kind = kind & 0xf;
        if of_the_unit && binary && matches!(kind, 2 | 3) && best.as_ref().is_none_or(|(known, _)| *known < kind) {
            best = Some((kind, hex::encode(name)));
        }
    }
    best.map(|(_, name)| name)
}

fn body(page: &[u8], code: u8) -> Option<&[u8]> {
    let [_, found, high, low, body @ ..] = page else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    (*found == code).then(|| &body[..length.min(body.len())])
}

/// The name in a `wwid` file of sysfs: `naa.…` and `eui.…`. Other kinds are no such names.
pub(super) fn sysfs_wwid(line: &str) -> Option<String> {
    let name = line.trim().strip_prefix("naa.").or_else(|| line.trim().strip_prefix("eui."))?;
    let hexadecimal = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then(|| name.to_ascii_lowercase())
}

/// Trimmed, without the NULs that some disks fill up with. None: nothing is left, or it is no printable ASCII.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim_matches(['\0', ' ', '\n', '\t']);
    (!text.is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))).then(|| text.to_owned())
}

/// A UUID or NGUID that is not all zeros, which stands for "none".
pub(super) fn unique(text: String) -> Option<String> {
    text.bytes().any(|byte| !matches!(byte, b'0' | b'-')).then_some(text)
}

fn digits(text: &str) -> String {
    text.chars().filter(|c| *c != '-').collect::<String>().to_ascii_lowercase()
}

/// What of `wanted` the disk does not say, or says otherwise. Empty: it is the one, if anything is wanted at all.
pub(super) fn differences(wanted: &DeviceIdentity, seen: &DeviceIdentity) -> Vec<String> {
    let same = |wanted: &str, seen: &str, exactly: bool| {
        if exactly { wanted.trim() == seen } else { digits(wanted) == digits(seen) }
    };
    let fields = [
        ("wwid", &wanted.wwid, &seen.wwid, false),
        ("serial", &wanted.serial, &seen.serial, true),
        ("uuid", &wanted.uuid, &seen.uuid, false),
        ("nguid", &wanted.nguid, &seen.nguid, false),
    ];
    let mut found = Vec::new();
    for (name, wanted, seen, exactly) in fields {
        match (wanted, seen) {
            (Some(wanted), Some(seen)) if same(wanted, seen, exactly) => {}
            (Some(_), Some(seen)) => found.push(format!("{name} {seen}")),
            (Some(_), None) => found.push(format!("no {name}")),
            (None, _) => {}
        }
    }
    found
}

/// `serial vol01, uuid …`, or `nothing`.
pub(crate) fn describe(identity: &DeviceIdentity) -> String {
    let fields =
        [("serial", &identity.serial), ("wwid", &identity.wwid), ("uuid", &identity.uuid), ("nguid", &identity.nguid)];
    let parts: Vec<String> = fields
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {}", clean(value))))
        .collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

fn clean(value: &str) -> String {
    bulkhead_domain::error::clean_text(value, 128)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(code: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[0, code, length[0], length[1]], body].concat()
    }

    #[test]
    fn serials_are_trimmed_and_foreign_pages_refused() {
        assert_eq!(vpd_serial(&page(0x80, b"  beaf11  ")).as_deref(), Some("beaf11"));
        for bad in [page(0x83, b"beaf11"), page(0x80, b""), page(0x80, b"   "), page(0x80, b"\xff\xfe"), vec![0, 0x80]]
        {
            assert_eq!(vpd_serial(&bad), None, "{bad:?}");
        }
        // Shorter than it says of itself.
        assert_eq!(vpd_serial(&[0, 0x80, 0, 200, b'x']).as_deref(), Some("x"));
    }

    #[test]
    fn the_units_own_name_is_taken() {
        let descriptor = |code_set: u8, kind: u8, name: &[u8]| {
            [&[code_set, kind, 0, u8::try_from(name.len()).unwrap()], name].concat()
        };
        let vendor = descriptor(2, 1, b"Linux   scsi_debug");
        let port = descriptor(0x61, 0x93, &[0x52, 0x22, 0x22, 0x20, 0, 0, 0x7c, 0]);
        let eui = descriptor(1, 2, &[0, 0x25, 0x38, 1, 2, 3, 4, 5]);
        let naa = descriptor(1, 3, &[0x60, 0, 0xc, 0x29, 0xAB, 0xCD, 0xEF, 1]);
        let all = page(0x83, &[vendor.clone(), port.clone(), eui.clone(), naa].concat());
        assert_eq!(vpd_wwid(&all).as_deref(), Some("60000c29abcdef01"));
        assert_eq!(vpd_wwid(&page(0x83, &[port.clone(), eui].concat())).as_deref(), Some("0025380102030405"));
        assert_eq!(vpd_wwid(&page(0x83, &[vendor, port].concat())), None);
        assert_eq!(vpd_wwid(&page(0x83, &[1, 3, 0, 200, 1])), None, "longer than the page");
        assert_eq!(vpd_wwid(&[]), None);
    }

    #[test]
    fn names_in_sysfs() {
        assert_eq!(sysfs_wwid("naa.600A0B80\n").as_deref(), Some("600a0b80"));
        assert_eq!(sysfs_wwid("eui.0025385b\n").as_deref(), Some("0025385b"));
        for other in ["t10.ATA     QEMU", "nvme.1d0f-766f6c-416d-00000001", "uuid.a-b", "naa.", ""] {
            assert_eq!(sysfs_wwid(other), None, "{other}");
        }
        assert_eq!(unique("00000000-0000-0000-0000-000000000000".into()), None);
    }

    #[test]
    fn every_field_that_is_wanted_must_be_said() {
        let identity = |serial: Option<&str>, uuid: Option<&str>, nguid: Option<&str>| DeviceIdentity {
            serial: serial.map(str::to_owned),
            uuid: uuid.map(str::to_owned),
            nguid: nguid.map(str::to_owned),
            wwid: None,
        };
        let seen = identity(Some("vol01"), Some("AB-cd"), Some("0011-2233"));
        assert!(differences(&identity(Some("vol01"), None, Some("00112233")), &seen).is_empty());
        assert!(differences(&identity(None, Some("ab-CD"), None), &seen).is_empty());
        assert_eq!(differences(&identity(Some("VOL01"), None, None), &seen), ["serial vol01"]);
        let wwid = DeviceIdentity { wwid: Some("600".into()), ..identity(Some("vol01"), None, None) };
        assert_eq!(differences(&wwid, &seen), ["no wwid"]);
        assert_eq!(describe(&seen), "serial vol01, uuid AB-cd, nguid 0011-2233");
    }
}
