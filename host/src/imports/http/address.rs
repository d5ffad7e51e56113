//! What kind of address is this? IANA's registries of special addresses, and where clouds keep credentials.

use crate::config::AddressKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where clouds answer whoever asks with credentials: AWS (instances, tasks, pods), Azure, Google, Oracle, Alibaba.
const METADATA_V4: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(100, 100, 100, 200),
];
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// The kind of an address; none for those that are never connected to: unspecified (which Linux takes for itself), multicast,
/// broadcast and reserved.
pub(super) fn kind(address: IpAddr) -> Option<AddressKind> {
    match address {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

fn kind_v4(address: Ipv4Addr) -> Option<AddressKind> {
    use AddressKind as K;
    let [a, b, c, _] = address.octets();
    if METADATA_V4.contains(&address) {
        return Some(K::Metadata);
    }
    match (a, b, c) {
        (0 | 224..=255, _, _) => None,
        (127, _, _) => Some(K::Loopback),
        (169, 254, _) => Some(K::LinkLocal),
        // Private networks, the carrier's, protocol assignments, benchmarks.
        (10, _, _) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) | (192, 0, 0) | (198, 18..=19, _) => {
            Some(K::Private)
        }
        _ => Some(K::Public),
    }
}

fn kind_v6(address: Ipv6Addr) -> Option<AddressKind> {
    use AddressKind as K;
    if METADATA_V6.contains(&address) {
        return Some(K::Metadata);
    }
    if address == Ipv6Addr::LOCALHOST {
        return Some(K::Loopback);
    }
    if address.is_unspecified() || address.is_multicast() {
        return None;
    }
    if let Some(inner) = embedded(address) {
        return kind_v4(inner);
    }
    match address.segments()[0] {
        0xfe80..=0xfebf => Some(K::LinkLocal),
        // Unique local, and the site-local ones of old.
        0xfc00..=0xfdff | 0xfec0..=0xfeff => Some(K::Private),
        _ => Some(K::Public),
    }
}

/// The IPv4 address that an IPv6 address stands for or leads to: mapped, compatible, translated, NAT64 (also of one's own
/// prefix), 6to4 and Teredo.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(v4(high, low)),
        [0, 0, 0, 0, 0xffff, 0, high, low] => Some(v4(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x64, 0xff9b, 1, _, _, _, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        [0x2001, 0, _, _, _, _, high, low] => Some(v4(!high, !low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_kind() {
        let cases = [
            ("8.8.8.8", "public"),
            ("100.63.0.1", "public"),
            ("10.1.2.3", "private"),
            ("172.16.0.1", "private"),
            ("172.32.0.1", "public"),
            ("192.168.1.1", "private"),
            ("100.64.0.1", "private"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("169.254.1.1", "link-local"),
            ("169.254.169.254", "metadata"),
            ("169.254.170.2", "metadata"),
            ("100.100.100.200", "metadata"),
            ("168.63.129.16", "metadata"),
            ("0.0.0.0", "never"),
            ("0.1.2.3", "never"),
            ("224.0.0.1", "never"),
            ("240.0.0.1", "never"),
            ("255.255.255.255", "never"),
            ("2606:4700::1", "public"),
            ("fd12::1", "private"),
            ("fec0::1", "private"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("::1", "loopback"),
            ("::", "never"),
            ("ff02::1", "never"),
            ("fd00:ec2::254", "metadata"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:169.254.169.254", "metadata"),
            ("::ffff:0.0.0.0", "never"),
            ("::127.0.0.1", "loopback"),
            ("::10.0.0.1", "private"),
            ("::ffff:0:10.0.0.1", "private"),
            ("64:ff9b::7f00:1", "loopback"),
            ("64:ff9b::a9fe:a9fe", "metadata"),
            ("64:ff9b:1::a9fe:a9fe", "metadata"),
            ("64:ff9b::8.8.8.8", "public"),
            ("2002:7f00:1::", "loopback"),
            ("2002:a9fe:a9fe::1", "metadata"),
            ("2001:0:4136:e378:8000:63bf:80ff:fffe", "loopback"),
        ];
        for (address, expected) in cases {
            let found = kind(address.parse().unwrap()).map_or("never", AddressKind::name);
            assert_eq!(found, expected, "{address}");
        }
    }
}
