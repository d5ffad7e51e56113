//! By which names storage systems know this node.

use super::FactFinder;

/// Longest iSCSI name, in bytes (RFC 7143, 4.2.7.1), and longest NVMe qualified name (NVMe Base Specification 2.0, 4.5).
const NAME_BYTES: usize = 223;

impl FactFinder {
    /// From the file of open-iscsi: lines `InitiatorName=iqn...`, comments with `#`. The last one counts there; there is
    /// one in every file that its tools write.
    pub(super) fn iscsi_initiators(&self) -> Vec<String> {
        let text = self.read("etc/iscsi/initiatorname.iscsi").unwrap_or_default();
        let value = |line: &str| line.trim().strip_prefix("InitiatorName").map(|rest| rest.trim_start().to_owned());
        let names =
            text.lines().filter_map(value).filter_map(|rest| rest.strip_prefix('=').map(|v| v.trim().to_owned()));
        let iscsi =
            |name: &String| ["iqn.", "eui.", "naa."].iter().any(|prefix| name.starts_with(prefix)) && is_name(name);
        names.rev().find(iscsi).into_iter().collect()
    }

    /// From the file of nvme-cli.
    pub(super) fn nvme_host_nqn(&self) -> Option<String> {
        let nqn = self.read("etc/nvme/hostnqn")?.trim().to_owned();
        (nqn.starts_with("nqn.") && is_name(&nqn)).then_some(nqn)
    }

    /// From the file of nvme-cli: a UUID.
    pub(super) fn nvme_host_id(&self) -> Option<String> {
        let id = self.read("etc/nvme/hostid")?.trim().to_ascii_lowercase();
        let hex = id.chars().filter(char::is_ascii_hexdigit).count() == 32;
        let dashes: Vec<usize> = id.match_indices('-').map(|(at, _)| at).collect();
        (hex && id.len() == 36 && dashes == [8, 13, 18, 23]).then_some(id)
    }

    /// From sysfs, where they begin with `0x` (Documentation/ABI/testing/sysfs-class-fc_host); virtual ports (NPIV) included.
    pub(super) fn fc_wwpns(&self) -> Vec<String> {
        let ports = self.list("sys/class/fc_host").into_iter();
        let name = |port: String| {
            let name = self.read(&format!("sys/class/fc_host/{port}/port_name"))?.trim().to_ascii_lowercase();
            let digits = name.strip_prefix("0x").unwrap_or(&name);
            // A port without a name says that it is all ones.
            let real =
                digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()) && digits != "ffffffffffffffff";
            real.then(|| digits.to_owned())
        };
        let mut names: Vec<String> = ports.filter_map(name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES && name.bytes().all(|byte| byte.is_ascii_graphic())
}
