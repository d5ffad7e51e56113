//! Texts of one value: sizes, times, numbers, digests, names, sockets. Each function says what is wrong as the end of a sentence
//! that begins with the value, and what to write instead; the value itself never stands in it, for it may come from the
//! environment.

mod hosts;

pub(super) use hosts::{host_pattern, proxy};

use bulkhead_domain::limits;
use bytesize::ByteSize;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// What is wrong with a value.
pub(super) type Problem = String;

/// Longest path of a unix socket: `sun_path` holds 108 bytes with the NUL (unix(7)).
pub(super) const SOCKET_BYTES: usize = 107;
/// Longest CSI plugin name (GetPluginInfoResponse.name).
const DRIVER_NAME_BYTES: usize = 63;

/// Expands `${NAME}`; `$${` stands for `${`. What a variable holds is not expanded again.
///
/// # Errors
/// The whole sentence: it names variables only.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Problem> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        if let Some(after) = rest.strip_prefix("$${") {
            out.push_str("${");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let end = after.find('}').ok_or("a ${ has no }: close it, or write $${ for a literal ${")?;
            let name = &after[..end];
            if !is_variable_name(name) {
                return Err(format!(
                    "${{{name}}} is not ${{NAME}}: name one environment variable, or write $${{ for a literal ${{"
                ));
            }
            let value = env(name)
                .ok_or_else(|| format!("the environment variable {name} is not set: set it or write the value"))?;
            out.push_str(&value);
            rest = &after[end + 1..];
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Bytes, within `range`.
pub(super) fn size(text: &str, range: RangeInclusive<u64>) -> Result<u64, Problem> {
    let size = text
        .parse::<ByteSize>()
        .map_err(|_| "is not a size: write e.g. 64MiB, or a plain number of bytes".to_owned())?
        .0;
    if range.contains(&size) {
        return Ok(size);
    }
    Err(format!("is out of range: write {} to {}", exact(*range.start()), exact(*range.end())))
}

/// The largest binary unit that says it without a fraction, in the form that [`size`] reads.
pub(super) fn exact(bytes: u64) -> String {
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// Permission bits in octal, of a directory that its owner can use.
pub(super) fn permissions(text: &str) -> Result<u32, Problem> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let bits = octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    bits.filter(|bits| bits & 0o700 == 0o700).ok_or_else(|| {
        "is no mode for directories: write three or four octal digits that let the owner do everything, like \"0777\"".into()
    })
}

/// A time, within `range`.
pub(super) fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, Problem> {
    let time =
        humantime::parse_duration(text).map_err(|_| "is not a time: write e.g. 30s, 500ms or 2min".to_owned())?;
    if range.contains(&time) {
        return Ok(time);
    }
    let [from, to] = [*range.start(), *range.end()].map(humantime::format_duration);
    Err(format!("is out of range: write {from} to {to}"))
}

/// A whole number, within `range`.
pub(super) fn count(text: &str, range: RangeInclusive<u32>) -> Result<u32, Problem> {
    match text.parse::<u32>() {
        Ok(count) if range.contains(&count) => Ok(count),
        _ => Err(format!("is not a number from {} to {}: write one", range.start(), range.end())),
    }
}

/// An address with a port.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, Problem> {
    let address = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
    address.ok_or_else(|| "is not ADDRESS:PORT: write e.g. 0.0.0.0:9808, 127.0.0.1:9808 or [::]:9808".into())
}

/// `true` or `false`.
pub(super) fn flag(text: &str) -> Result<bool, Problem> {
    text.parse().map_err(|_| "is neither true nor false: write one of them".into())
}

/// What the path of a device must begin with: something beneath /dev, and more than that.
pub(super) fn device_path(text: &str) -> Result<String, Problem> {
    let below = text.strip_prefix("/dev/").unwrap_or_default();
    let whole = below.strip_suffix('/').unwrap_or(below);
    if whole.is_empty() || whole.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("is not the beginning of a device's path beneath /dev: write e.g. /dev/pxd/ or /dev/xvd".into());
    }
    Ok(text.to_owned())
}

/// `sha256:` and 64 hexadecimal digits.
pub(super) fn digest(text: &str) -> Result<[u8; 32], Problem> {
    let problem = || "is not a digest: write sha256: and 64 hexadecimal digits, as sha256sum prints them".to_owned();
    let mut digest = [0; 32];
    hex::decode_to_slice(text.strip_prefix("sha256:").ok_or_else(problem)?, &mut digest).map_err(|_| problem())?;
    Ok(digest)
}

/// A CSI plugin name: at most 63 letters, digits, dashes and dots, a letter or digit at both ends.
pub(super) fn driver_name(text: &str) -> Result<String, Problem> {
    let edge = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if text.len() <= DRIVER_NAME_BYTES && text.chars().all(inner) && text.starts_with(edge) && text.ends_with(edge) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "is not a driver name: write at most {DRIVER_NAME_BYTES} letters, digits, dashes and dots, a letter or digit first and last"
    ))
}

/// `unix:///PATH`, `unix:/PATH` or an absolute path, to the path.
pub(super) fn endpoint(text: &str) -> Result<PathBuf, Problem> {
    let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') || climbs(Path::new(path)) {
        return Err("is not a unix socket: write unix:///PATH with an absolute path to a file, without ..".into());
    }
    if path.len() > SOCKET_BYTES {
        return Err(format!(
            "is {} bytes long, a socket's path has at most {SOCKET_BYTES}: choose a shorter one",
            path.len()
        ));
    }
    Ok(path.into())
}

/// A path; a relative one begins at `base`.
pub(super) fn path(text: &str, base: &Path) -> Result<PathBuf, Problem> {
    if text.is_empty() || text.contains('\0') || text.len() > limits::PATH_BYTES {
        return Err(format!("is not a path: write 1 to {} bytes without NUL", limits::PATH_BYTES));
    }
    // Tidies the text only: `..` stays, for what it means depends on symlinks.
    let absolute = std::path::absolute(base.join(text));
    let tidy = absolute.map(|path| path.components().collect());
    tidy.map_err(|error| format!("can't be made absolute ({error}): write an absolute path"))
}

/// The path of a component; no other places of components are known to this version.
pub(super) fn source(text: &str, base: &Path) -> Result<PathBuf, Problem> {
    match text.split_once("://") {
        Some(("oci", _)) => {
            Err("is in a registry, which is not supported yet by this version: write the path of a .wasm file".into())
        }
        Some(_) => Err("is not a path: write the path of a .wasm file".into()),
        None => path(text, base),
    }
}

/// An absolute directory other than `/`, without `..`.
pub(super) fn absolute_directory(text: &str) -> Result<PathBuf, Problem> {
    let directory = Path::new(text);
    if !directory.is_absolute() || climbs(directory) || directory.parent().is_none() {
        return Err(
            "is not an absolute directory: write one that begins with /, without .., other than / itself".into()
        );
    }
    path(text, directory)
}

/// A host name or an address, in lower case; an IPv6 address may stand in brackets.
pub(super) fn host(text: &str) -> Result<String, Problem> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<std::net::IpAddr>() {
        return Ok(address.to_string());
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("is not a host: write a full host name or an address, without scheme, port, path or wildcard".into())
}

/// The URL of a login, without user and fragment: https, or http to this machine or to its metadata.
pub(super) fn login_url(text: &str) -> Result<String, Problem> {
    let problem = || "is not a URL: write https://HOST/PATH".to_owned();
    let url: http::Uri = text.parse().map_err(|_| problem())?;
    let authority = url.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(problem)?;
    if text.contains('#') || host(authority.host()).is_err() {
        return Err(problem());
    }
    match url.scheme_str() {
        Some("https") => Ok(text.to_owned()),
        Some("http") if is_local(authority.host()) => Ok(text.to_owned()),
        Some("http") => Err("would send keys without encryption: write https://, http:// is for this machine only \
                             (localhost, loopback and link-local addresses)"
            .into()),
        _ => Err(problem()),
    }
}

/// As [`login_url`], of scheme and authority alone; without a slash at the end.
pub(super) fn login_endpoint(text: &str) -> Result<String, Problem> {
    let url = login_url(text)?;
    let bare = url.strip_suffix('/').unwrap_or(&url);
    let alone = bare.split_once("://").is_some_and(|(_, rest)| !rest.contains(['/', '?']));
    alone.then(|| bare.to_owned()).ok_or_else(|| "has a path: write https://HOST or https://HOST:PORT".into())
}

/// What is sent there stays on this machine, or goes to its metadata.
fn is_local(host: &str) -> bool {
    use std::net::{IpAddr, Ipv6Addr};
    /// Instance metadata on machines that speak IPv6 only.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unicast_link_local() || address == METADATA,
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// The path has a `..`.
fn climbs(path: &Path) -> bool {
    path.components().any(|part| part == Component::ParentDir)
}

/// Any text of at most `max` bytes, not empty, without control characters.
pub(super) fn text(value: &str, max: usize) -> Result<String, Problem> {
    // The limits' own words begin with the name of what they check, which the caller's sentence has already.
    match limits::required_text("", value, max) {
        Ok(()) => Ok(value.to_owned()),
        Err(problem) => Err(format!("{}: write 1 to {max} bytes of plain text", problem.trim())),
    }
}

/// One of `words`.
pub(super) fn word(text: &str, words: &[&'static str]) -> Result<&'static str, Problem> {
    let found = words.iter().find(|word| **word == text);
    found.copied().ok_or_else(|| format!("is not known: write one of {}", words.join(", ")))
}
