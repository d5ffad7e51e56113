//! How many volumes fit on an instance, by its type: what EC2's DescribeInstanceTypes says, as a table, since a node can't ask. The
//! setting `volumeAttachLimit` is for types that aren't in it yet.

/// Whether network interfaces take from the same limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    Shared,
    Dedicated,
}

/// What an instance of a type can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The root disk among them.
    pub volumes: u32,
    pub sharing: Sharing,
    /// Volumes are NVMe disks with serials (Nitro), not Xen's.
    pub nvme: bool,
}

/// What types have that aren't in a table: 28 slots, one of them for the first network interface; bare metal 31.
const DEFAULT: u32 = 27;
const DEFAULT_METAL: u32 = 31;

/// Types before Nitro.
const XEN: &str = "c1 c3 c4 d2 f1 g2 g3 h1 i2 i3 m1 m2 m3 m4 p2 p3 r3 r4 t1 t2 x1 x1e";
const XEN_LIMIT: u32 = 39;

/// Families, then sizes with other limits than the default; `*`: all that aren't named. Local NVMe disks and
/// accelerators are taken off already.
const SHARED: &str = "
c5ad: 4xlarge=25 8xlarge=25 12xlarge=25 16xlarge=25 24xlarge=25 *=26
c5d: 12xlarge=25 18xlarge=25 24xlarge=23 metal=31 *=26
c6gd m6gd r6gd c7gd m7gd r7gd x2gd: 12xlarge=25 16xlarge=25 metal=31 *=26
c6id m6id r6id m6idn r6idn: 12xlarge=25 16xlarge=25 24xlarge=23 32xlarge=23 metal=31 *=26
d3: xlarge=24 2xlarge=21 4xlarge=15 8xlarge=3
d3en: xlarge=25 2xlarge=23 4xlarge=19 6xlarge=15 8xlarge=11 12xlarge=3
dl1: *=28
dl2q: *=19
g4ad: 8xlarge=24 16xlarge=21 *=25
g4dn: 12xlarge=22 metal=31 *=25
g5: 12xlarge=22 24xlarge=22 48xlarge=9 *=25
g5g: 16xlarge=25 metal=31 *=26
hpc6id: *=23
i3en: 2xlarge=25 6xlarge=25 12xlarge=23 24xlarge=19 metal=31 *=26
i4g im4gn: 8xlarge=25 16xlarge=23 *=26
i4i: 8xlarge=25 12xlarge=24 16xlarge=23 24xlarge=21 32xlarge=19 metal=31 *=26
inf1: 6xlarge=23 24xlarge=11 *=26
inf2: 24xlarge=28 48xlarge=28 *=26
is4gen: 4xlarge=25 8xlarge=23 *=26
m5ad r5ad m5d r5d m5dn r5dn: 4xlarge=25 8xlarge=25 12xlarge=25 16xlarge=23 24xlarge=23 metal=31 *=26
mac1: *=16
mac2 mac2-m1ultra mac2-m2 mac2-m2pro mac-m4max: *=10
p3dn: *=17
trn1 trn1n: 2xlarge=25 32xlarge=28
vt1: 3xlarge=25 6xlarge=23
x2idn: 16xlarge=26 metal=31 *=25
x2iedn: 24xlarge=25 32xlarge=25 metal=31 *=26
z1d: 12xlarge=25 metal=31 *=26
";

/// As `SHARED`, for families whose volumes have a limit of their own. Sizes that most of them have in common are in [`dedicated`].
const DEDICATED: &str = "
c7a m7a r7a c7i m7i r7i c7i-flex m7i-flex r7iz:
c8a m8a r8a: metal-24xl=64
c8g m8g r8g c8gd m8gd r8gd x8g i7i i8g i7ie i8ge: 18xlarge=48
c8gb m8gb r8gb: metal-48xl=78
c8gn m8gn r8gn: 48xlarge=64 metal-48xl=39
c8i m8i r8i c8i-flex m8i-flex r8i-flex x8i: 64xlarge=128 metal-48xl=64 metal-96xl=79
f2 g6 g6e g6f g7e gr6 gr6f:
hpc7a: *=27
p4d p4de: *=28
p5 p5e p5en p6-b200 p6-b300 trn2: 48xlarge=64
u7i-6tb u7i-8tb u7i-12tb u7in-16tb u7in-24tb u7in-32tb: *=128
x8aedz: 12xlarge=64 24xlarge=128 metal-12xl=64 metal-24xl=79
";

fn dedicated(size: &str) -> u32 {
    match size {
        "16xlarge" => 48,
        "24xlarge" => 64,
        "32xlarge" => 88,
        "48xlarge" | "96xlarge" => 128,
        "metal-16xl" | "metal-24xl" => 39,
        "metal-32xl" | "metal-48xl" => 79,
        _ => 32,
    }
}

impl Limit {
    /// Of a type such as `m6i.large`.
    pub fn of(instance_type: &str) -> Self {
        let (family, size) = instance_type.split_once('.').unwrap_or((instance_type, ""));
        let limit = |volumes, sharing| Self { volumes, sharing, nvme: true };
        if XEN.split(' ').any(|xen| xen == family) && size != "metal" {
            // EC2 calls it shared; yet interfaces take nothing from it.
            return Self { volumes: XEN_LIMIT, sharing: Sharing::Dedicated, nvme: false };
        }
        if let Some(row) = row(DEDICATED, family) {
            return limit(named(row, size).unwrap_or_else(|| dedicated(size)), Sharing::Dedicated);
        }
        let default = if size.starts_with("metal") { DEFAULT_METAL } else { DEFAULT };
        let volumes = row(SHARED, family).and_then(|row| named(row, size)).unwrap_or(default);
        limit(volumes, Sharing::Shared)
    }
}

/// The sizes of a family's row.
fn row(table: &'static str, family: &str) -> Option<&'static str> {
    let rows = table.lines().filter_map(|line| line.split_once(':'));
    let mut rows = rows.filter(|(families, _)| families.split(' ').any(|known| known == family));
    rows.next().map(|(_, sizes)| sizes)
}

fn named(row: &str, size: &str) -> Option<u32> {
    let of = |wanted: &str| row.split(' ').find_map(|entry| entry.split_once('=').filter(|(size, _)| *size == wanted));
    of(size).or_else(|| of("*"))?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_their_limits() {
        use Sharing::{Dedicated, Shared};
        for (name, volumes, sharing, nvme) in [
            ("m6i.large", 27, Shared, true),
            ("t3.micro", 27, Shared, true),
            ("m6i.metal", 31, Shared, true),
            ("c5d.24xlarge", 23, Shared, true),
            ("c5d.large", 26, Shared, true),
            ("d3.8xlarge", 3, Shared, true),
            ("g5.48xlarge", 9, Shared, true),
            ("m7i.large", 32, Dedicated, true),
            ("m7i.48xlarge", 128, Dedicated, true),
            ("r8gn.48xlarge", 64, Dedicated, true),
            ("c8a.metal-48xl", 79, Dedicated, true),
            ("c8i.metal-48xl", 64, Dedicated, true),
            ("p5.4xlarge", 32, Dedicated, true),
            ("i7ie.18xlarge", 48, Dedicated, true),
            ("u7in-32tb.224xlarge", 128, Dedicated, true),
            ("t2.micro", 39, Dedicated, false),
            ("i3.metal", 31, Shared, true),
            ("brand-new.large", 27, Shared, true),
            ("", 27, Shared, true),
        ] {
            assert_eq!(Limit::of(name), Limit { volumes, sharing, nvme }, "{name}");
        }
    }

    #[test]
    fn each_family_stands_once_and_each_entry_is_a_number() {
        let mut families: Vec<&str> = XEN.split(' ').collect();
        for line in SHARED.lines().chain(DEDICATED.lines()).filter(|line| !line.is_empty()) {
            let (names, sizes) = line.split_once(':').unwrap();
            families.extend(names.split(' '));
            let entries = sizes.split(' ').filter(|entry| !entry.is_empty());
            assert!(entries.clone().all(|entry| entry.split_once('=').unwrap().1.parse::<u32>().is_ok()), "{line}");
        }
        let count = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), count);
    }
}
