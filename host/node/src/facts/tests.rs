use super::{
    FactFinder, FoundFacts,
    addresses::{Interface, default_interface, ordered},
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// A node that is a directory.
struct Node {
    dir: tempfile::TempDir,
}

impl Node {
    fn new(files: &[(&str, &str)]) -> Self {
        let node = Self { dir: tempfile::tempdir().unwrap() };
        files.iter().for_each(|(path, text)| node.write(path, text));
        node
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn finder(&self) -> FactFinder {
        let programs = vec![self.dir.path().join("programs")];
        FactFinder { programs, ..FactFinder::new(self.dir.path(), Path::new("/var/lib/kubelet")) }
    }

    fn find(&self) -> FoundFacts {
        FoundFacts { addresses: vec![], ..self.finder().find() }
    }

    fn program(&self, name: &str, mode: u32) {
        self.write(&format!("programs/{name}"), "#!/bin/sh\n");
        fs::set_permissions(self.dir.path().join("programs").join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn nothing_is_absent_and_no_error() {
    let node = Node::new(&[]);
    assert_eq!(node.find(), FoundFacts::default());
    assert!(node.finder().said.lock().unwrap().is_empty());
}

#[test]
fn names_of_storage_networks() {
    let node = Node::new(&[
        (
            "etc/iscsi/initiatorname.iscsi",
            "## DO NOT EDIT\n#InitiatorName=iqn.1993-08.org.debian:01:old\nInitiatorName = iqn.2004-10.com.ubuntu:01:abc \n",
        ),
        ("etc/nvme/hostnqn", "nqn.2014-08.org.nvmexpress:uuid:0ab5\n"),
        ("etc/nvme/hostid", "0AB5C1D2-0000-4000-8000-0123456789ab\n"),
        ("sys/class/fc_host/host3/port_name", "0x21000024FF3DA5E2\n"),
        ("sys/class/fc_host/host2/port_name", "0x21000024ff3da5e3\n"),
        ("sys/class/fc_host/host4/port_name", "0xffffffffffffffff\n"),
        ("sys/class/fc_host/host5/other", ""),
    ]);
    let found = node.find();
    assert_eq!(found.iscsi_initiators, ["iqn.2004-10.com.ubuntu:01:abc"]);
    assert_eq!(found.nvme_host_nqn.as_deref(), Some("nqn.2014-08.org.nvmexpress:uuid:0ab5"));
    assert_eq!(found.nvme_host_id.as_deref(), Some("0ab5c1d2-0000-4000-8000-0123456789ab"));
    assert_eq!(found.fc_wwpns, ["21000024ff3da5e2", "21000024ff3da5e3"]);
    assert_eq!(found.transports, ["fc"]);
}

#[test]
fn names_that_are_none_are_absent() {
    for (path, text) in [
        ("etc/iscsi/initiatorname.iscsi", "GenerateName=yes\nInitiatorName=\nInitiatorName=node 1\n"),
        ("etc/nvme/hostnqn", "nqn.a b\n"),
        ("etc/nvme/hostid", "0ab5c1d2-0000-4000-8000-0123456789a\n"),
        ("sys/class/fc_host/host2/port_name", "0x123\n"),
    ] {
        let found = Node::new(&[(path, text)]).find();
        assert_eq!(FoundFacts { transports: vec![], ..found }, FoundFacts::default(), "{path}");
    }
    let long = format!("nqn.2014-08.org:{}", "n".repeat(224));
    assert_eq!(Node::new(&[("etc/nvme/hostnqn", &long)]).find().nvme_host_nqn, None);
}

#[test]
fn what_cannot_be_read_is_said_once() {
    // A directory in a file's place: neither root nor anybody else can read it.
    let node = Node::new(&[("etc/nvme/hostnqn/x", "")]);
    let finder = node.finder();
    finder.find();
    finder.find();
    let said = finder.said.lock().unwrap().clone();
    assert_eq!(said.into_keys().collect::<Vec<_>>(), [node.dir.path().join("etc/nvme/hostnqn")]);
    fs::remove_dir_all(node.dir.path().join("etc/nvme/hostnqn")).unwrap();
    node.write("etc/nvme/hostnqn", "nqn.a\n");
    assert_eq!(finder.find().nvme_host_nqn.as_deref(), Some("nqn.a"));
    assert!(finder.said.lock().unwrap().is_empty(), "said again if it comes back");
}

#[test]
fn transports_need_their_modules_and_programs() {
    let with = |files: &[(&str, &str)], programs: &[&str]| {
        let node = Node::new(files);
        programs.iter().for_each(|name| node.program(name, 0o755));
        node.find().transports
    };
    let dep = |name: &str| format!("kernel/x/other.ko.zst:\nkernel/x/{name}: kernel/y.ko\n");
    let release = ("proc/sys/kernel/osrelease", "6.1.0-9\n");
    let list = "lib/modules/6.1.0-9/modules.dep";
    assert_eq!(with(&[("proc/filesystems", "nodev\tsysfs\nnodev\tnfs4\n\text4\n")], &[]), ["nfs"]);
    assert_eq!(with(&[release, (list, &dep("nfs.ko.xz"))], &[]), ["nfs"]);
    assert!(
        with(&[("proc/sys/kernel/osrelease", "5.0\n"), (list, &dep("nfs.ko"))], &[]).is_empty(),
        "another kernel's"
    );
    assert_eq!(with(&[release, ("lib/modules/6.1.0-9/modules.builtin", "kernel/fs/ceph/ceph.ko\n")], &[]), ["cephfs"]);
    let iscsi = [("sys/module/iscsi_tcp/refcnt", "0")];
    assert!(with(&iscsi, &[]).is_empty(), "without iscsiadm");
    assert_eq!(with(&iscsi, &["iscsiadm"]), ["iscsi"]);
    assert_eq!(with(&[("sys/module/nvme_tcp/refcnt", "0")], &[]), ["nvme-tcp"]);
    let nvme = [release, (list, &dep("nvme-tcp.ko"))];
    assert!(with(&nvme, &[]).is_empty(), "nobody loads it");
    assert_eq!(with(&[nvme[0], nvme[1], ("dev/nvme-fabrics", "")], &[]), ["nvme-tcp"]);
    assert_eq!(with(&[("dev/loop-control", ""), ("run/multipathd.pid", "7")], &[]), ["loop", "multipath"]);
    let socket = "Num RefCount\n0000: 00000002 0 00010000 0001 01 1 @/org/kernel/linux/storage/multipathd\n";
    assert_eq!(with(&[("proc/net/unix", socket)], &[]), ["multipath"]);
    assert_eq!(with(&[("dev/mapper/control", ""), ("dev/fuse", "")], &["lvm", "glusterfs"]), ["glusterfs", "lvm"]);
    let node = Node::new(&iscsi);
    node.program("iscsiadm", 0o644);
    assert!(node.find().transports.is_empty(), "it can't be run");
}

const MOUNTS: &str = "\
21 1 259:1 / / rw - ext4 /dev/root rw
22 21 259:1 /var/x /var/lib/kubelet/pods/a/volumes/x rw - ext4 /dev/root rw
23 21 259:2 / /var/lib/kubelet/plugins/kubernetes.io/csi/d/1/globalmount rw - ext4 /dev/nvme1n1 rw
24 21 253:0 / /srv/my\\040data rw - xfs /dev/mapper/vg-lv rw
25 21 259:9 / /var/lib/kubelet rw - ext4 /dev/nvme4n1 rw
26 21 253:1 / /var/lib/kubelet/plugins/crypt rw - ext4 /dev/mapper/luks rw
";

#[test]
fn slots_of_volumes_are_not_counted_and_others_are() {
    let ebs = "Amazon Elastic Block Store              \n";
    let disk = |n: u32, number: &str| {
        [
            (format!("sys/block/nvme{n}n1/device/model"), ebs.to_owned()),
            (format!("sys/block/nvme{n}n1/dev"), number.into()),
        ]
    };
    let files = [
        disk(0, "259:0\n"), // the root disk, by its partition
        disk(1, "259:2\n"), // a staged volume
        disk(2, "259:5\n"), // below LVM, which is mounted
        disk(3, "259:6\n"), // attached, not used
        disk(4, "259:9\n"), // kubelet's own directory
        disk(5, "259:7\n"), // swap
        disk(6, "259:8\n"), // a staged volume, encrypted
    ];
    let mut files: Vec<(String, String)> = files.into_iter().flatten().collect();
    for (path, text) in [
        ("sys/block/nvme0n1/nvme0n1p1/partition", "1\n"),
        ("sys/block/nvme0n1/nvme0n1p1/dev", "259:1\n"),
        ("sys/block/nvme2n1/holders/dm-0", ""),
        ("sys/block/dm-0/dev", "253:0\n"),
        ("sys/block/nvme6n1/holders/dm-1", ""),
        ("sys/block/dm-1/dev", "253:1\n"),
        ("sys/block/nvme9n1/device/model", "Amazon EC2 NVMe Instance Storage\n"),
        ("sys/block/nvme9n1/dev", "259:1\n"),
        ("proc/1/mountinfo", MOUNTS),
        ("proc/swaps", "Filename Type Size\n/dev/nvme5n1 partition 1 0 -2\n"),
    ] {
        files.push((path.into(), text.into()));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert_eq!(Node::new(&files).find().used_slots, Some(4), "root, LVM, kubelet's, swap");
    let xen = [("sys/block/xvda/dev", "259:1\n"), ("sys/block/xvdba/dev", "259:2\n"), ("proc/self/mountinfo", MOUNTS)];
    assert_eq!(Node::new(&xen).find().used_slots, Some(1));
    assert_eq!(Node::new(&[("sys/block/sda/dev", "8:0\n"), ("proc/1/mountinfo", MOUNTS)]).find().used_slots, None);
}

#[test]
fn addresses_of_the_default_route_come_first() {
    let one = |name: &str, up, address: &str| Interface { name: name.into(), up, address: address.parse().unwrap() };
    let found = vec![
        one("lo", true, "127.0.0.1"),
        one("docker0", true, "172.17.0.1"),
        one("eth0", true, "fe80::1"),
        one("eth0", true, "2001:db8::7"),
        one("eth0", true, "10.0.0.7"),
        one("eth1", false, "10.1.0.7"),
        one("eth2", true, "169.254.7.7"),
        one("eth3", true, "10.0.0.7"),
        one("lo", true, "::1"),
    ];
    let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                 wlan0\t00000000\t0100000A\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
                 eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                 eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\nbad\n";
    assert_eq!(default_interface(table), Some("eth0"));
    assert_eq!(default_interface("Iface\n"), None);
    let usable: Vec<String> = ordered(found, Some("eth0")).iter().map(ToString::to_string).collect();
    assert_eq!(usable, ["10.0.0.7", "2001:db8::7", "172.17.0.1"]);
}

/// The real thing, against what the kernel says of the same interfaces elsewhere.
#[test]
fn addresses_of_this_machine() {
    let found = FactFinder::new(Path::new("/"), Path::new("/var/lib/kubelet")).find();
    let known = fs::read_to_string("/proc/net/fib_trie").unwrap();
    for address in &found.addresses {
        let address: std::net::IpAddr = address.parse().unwrap();
        assert!(!address.is_loopback());
        assert!(address.is_ipv6() || known.contains(&address.to_string()), "{address} is not the kernel's");
    }
    assert!(found.transports.is_sorted());
}
