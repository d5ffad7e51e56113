//! Where a backend may send requests to, and how they travel.

use super::Place;
use bytesize::ByteSize;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One place that a backend may send requests to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpGrant {
    /// How.
    pub scheme: Scheme,
    /// Which hosts.
    pub host: HostPattern,
    /// Port; by default the scheme's.
    pub port: u16,
    /// Upper case, at least one.
    pub methods: BTreeSet<String>,
    /// Name of the auth profile that signs its requests.
    pub auth: Option<String>,
    /// Kinds of address that may be connected to.
    pub addresses: Addresses,
    /// Where the entry begins.
    pub at: Place,
}

/// A scheme that requests may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

impl Scheme {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Which hosts a grant is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This name, lower case.
    Name(String),
    /// This address, and no name that leads to it.
    Address(IpAddr),
    /// All names that end in this, which begins with a dot; lower case.
    Below(String),
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
            Self::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

/// What an address is, by the registries of IANA and the clouds' own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKind {
    /// Reachable from anywhere.
    Public,
    /// Of a private network.
    Private,
    /// This machine.
    Loopback,
    /// This link.
    LinkLocal,
    /// Where a cloud gives credentials to whoever asks.
    Metadata,
}

impl AddressKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Public, Self::Private, Self::Loopback, Self::LinkLocal, Self::Metadata];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata",
        }
    }
}

/// A set of kinds of address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Addresses(u8);

impl Addresses {
    /// Every kind.
    pub fn all() -> Self {
        AddressKind::ALL.into_iter().collect()
    }

    /// It has this kind.
    pub fn contains(self, kind: AddressKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The kinds in it.
    pub fn iter(self) -> impl Iterator<Item = AddressKind> {
        AddressKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    /// With one kind more.
    #[must_use]
    pub fn with(self, kind: AddressKind) -> Self {
        Self(self.0 | (1 << kind as u8))
    }
}

impl Default for Addresses {
    /// Public and private.
    fn default() -> Self {
        [AddressKind::Public, AddressKind::Private].into_iter().collect()
    }
}

impl FromIterator<AddressKind> for Addresses {
    fn from_iter<I: IntoIterator<Item = AddressKind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self(0), Self::with)
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(AddressKind::name).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// How the requests of one backend travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where they go instead of to their host.
    pub proxy: Option<Proxy>,
    /// PEM file of the certificates that are trusted, instead of the system's.
    pub ca: Option<(PathBuf, Place)>,
    /// What the host shows to servers that ask who it is.
    pub client_certificate: Option<ClientCertificate>,
    /// Longest for looking the name up, connecting and TLS, 100 ms to 10 min. Default 5 s.
    pub connect_timeout: Duration,
    /// Longest from sending the request to the head of the answer, 100 ms to 10 min. Default 30 s.
    pub first_byte_timeout: Duration,
    /// Longest for everything, 100 ms to 10 min. Default 60 s.
    pub total_timeout: Duration,
    /// Connections at a time, 1 to 1000. Default 32.
    pub max_connections: u32,
    /// Bytes of a request's body, up to 64 MiB. Default 1 MiB.
    pub max_request: u64,
    /// Bytes of an answer's body, up to 1 GiB. Default 8 MiB.
    pub max_response: u64,
    /// Bytes of the head of a request or answer, 8 KiB to 1 MiB. Default 32 KiB.
    pub max_headers: u64,
    /// Where `http` stands, or the backend if it has none.
    pub at: Place,
}

impl HttpSettings {
    /// The smallest [`HttpSettings::max_headers`].
    pub const LEAST_HEADERS: u64 = ByteSize::kib(8).0;
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            proxy: None,
            ca: None,
            client_certificate: None,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(60),
            max_connections: 32,
            max_request: ByteSize::mib(1).0,
            max_response: ByteSize::mib(8).0,
            max_headers: ByteSize::kib(32).0,
            at: Place::default(),
        }
    }
}

/// An HTTP proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those that lead to its root.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// Where it stands.
    pub at: Place,
}

/// Names of the kinds, for the words of a list.
pub(in crate::config) fn addresses(words: &[&str]) -> Addresses {
    let named: BTreeSet<_> = words.iter().copied().collect();
    AddressKind::ALL.into_iter().filter(|kind| named.contains(kind.name())).collect()
}
