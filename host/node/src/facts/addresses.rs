//! Addresses of this process's network namespace: getifaddrs(3).

use super::FactFinder;
use std::{
    ffi::CStr,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    ptr,
};

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub name: String,
    pub up: bool,
    pub address: IpAddr,
}

impl FactFinder {
    pub(super) fn addresses(&self) -> Vec<String> {
        let found = match interfaces() {
            Ok(found) => found,
            Err(e) => {
                self.complain(Path::new("(getifaddrs)"), &e);
                return vec![];
            }
        };
        // `net` is that of the reader: of this process, also where `root` is another's.
        let route = self.read("proc/net/route").unwrap_or_default();
        ordered(found, default_interface(&route)).into_iter().map(|address| address.to_string()).collect()
    }
}

/// Those that storage traffic may come from, best first: of the interface with the default route, then IPv4 before IPv6, otherwise as
/// the kernel lists them.
pub(super) fn ordered(found: Vec<Interface>, default: Option<&str>) -> Vec<IpAddr> {
    let mut usable: Vec<Interface> = found.into_iter().filter(|one| one.up && is_usable(one.address)).collect();
    usable.sort_by_key(|one| (default != Some(one.name.as_str()), one.address.is_ipv6()));
    let mut out = Vec::with_capacity(usable.len());
    for one in usable {
        if !out.contains(&one.address) {
            out.push(one.address);
        }
    }
    out
}

fn is_usable(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

/// Of /proc/net/route: the line whose destination and mask are zero and whose metric is least.
pub(super) fn default_interface(table: &str) -> Option<&str> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let default = fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000");
        default.then(|| fields.get(6)?.parse::<u32>().ok().map(|metric| (metric, fields[0])))?
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

fn interfaces() -> io::Result<Vec<Interface>> {
    let mut first = ptr::null_mut();
    // SAFETY: `first` is a valid place for the list's head; the list is freed below and nowhere else.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: an element of the list that getifaddrs(3) made, which lives until freeifaddrs(3).
        let one = unsafe { &*next };
        next = one.ifa_next;
        // SAFETY: null, or an address of the family that it names.
        let Some(address) = (unsafe { ip(one.ifa_addr) }) else { continue };
        // SAFETY: a C string that lives as long as the list.
        let name = unsafe { CStr::from_ptr(one.ifa_name) }.to_string_lossy().into_owned();
        let up = one.ifa_flags & libc::IFF_UP as u32 != 0 && one.ifa_flags & libc::IFF_RUNNING as u32 != 0;
        found.push(Interface { name, up, address });
    }
    // SAFETY: the head that getifaddrs(3) gave; nothing of the list is kept.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

/// # Safety
/// `address` is null or points to a whole address of the family that it names.
unsafe fn ip(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: by the caller's word, also for the casts: the family says which structure it is. Read unaligned, for a
    // sockaddr is aligned to less.
    unsafe {
        match i32::from(ptr::read_unaligned(&raw const (*address).sa_family)) {
            libc::AF_INET => {
                let v4 = ptr::read_unaligned(address.cast::<libc::sockaddr_in>());
                Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
            }
            libc::AF_INET6 => {
                let v6 = ptr::read_unaligned(address.cast::<libc::sockaddr_in6>());
                Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}
