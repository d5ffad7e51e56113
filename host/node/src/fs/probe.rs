//! Is there nothing on a device? Of an image only a proof will do: both ends can be read and no byte anywhere is other than zero.
//! Of a disk, which may hold terabytes and can't say what was never written, both ends are read, every place where a file
//! system that has lost its beginning keeps a copy of it, and samples all over.

use bulkhead_domain::{Error, Result};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of data (not holes) that are read in search of one that is not zero.
const READ_MAX: u64 = 4 << 30;
const CHUNK: usize = 1 << 20;
/// Both ends that must be readable, holes or not.
const END: u64 = 1 << 20;

/// What is probed.
pub(crate) trait Source {
    /// Size in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset` on.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// The first stretch of data at or after `offset`: start and end. None: only holes follow.
    fn data_from(&self, offset: u64) -> io::Result<Option<(u64, u64)>>;
}

impl Source for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn data_from(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        let start = match rustix::fs::seek(self, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        Ok(Some((start, rustix::fs::seek(self, SeekFrom::Hole(start))?)))
    }
}

/// A disk, with its size in bytes.
pub(crate) struct Disk<'a> {
    pub(crate) file: &'a File,
    pub(crate) size: u64,
}

impl Source for Disk<'_> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn data_from(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        Ok(places(self.size).into_iter().find(|(_, end)| *end > offset).map(|(start, end)| (start.max(offset), end)))
    }
}

/// Samples of a disk, beside its ends.
const SAMPLES: u64 = 256;
/// Bytes of a sample, and of a place where a copy of a superblock may be.
const SAMPLE: u64 = 64 << 10;

/// Where a disk of that size is looked at: start and end, sorted, not beyond the end of the disk. Both ends; copies of
/// superblocks of ext4 with blocks of 1 and 4 KiB (groups 1, 3, 5, 7, 9) and of btrfs; and samples at even distances.
fn places(size: u64) -> Vec<(u64, u64)> {
    let groups = [1u64, 3, 5, 7, 9];
    let copies = groups.iter().flat_map(|group| [(group * 8192 + 1) << 10, (group * 32768) << 12]);
    let samples = (1..SAMPLES).map(|n| size / SAMPLES * n / SAMPLE * SAMPLE);
    let small = copies.chain([64 << 20, 256 << 30]).chain(samples).map(|start| (start, start + SAMPLE));
    let ends = [(0, END), (size.saturating_sub(END), size)];
    let mut all: Vec<_> =
        small.chain(ends).filter(|(start, _)| *start < size).map(|(start, end)| (start, end.min(size))).collect();
    all.sort_unstable();
    // What overlaps is one place.
    all.into_iter().fold(Vec::new(), |mut joined: Vec<(u64, u64)>, (start, end)| {
        match joined.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
        joined
    })
}

/// Zeros a disk wherever a probe looks. What else is on it must be known to be nobody's.
///
/// # Errors
/// As the kernel says.
pub(crate) fn wipe(disk: &File, size: u64) -> io::Result<()> {
    let zeros = vec![0; CHUNK];
    for (start, end) in places(size) {
        let mut at = start;
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            disk.write_all_at(&zeros[..length], at)?;
            at += length as u64;
        }
    }
    disk.sync_all()
}

/// What a look at a device gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Provably nothing.
    Empty,
    /// A known signature.
    Known(&'static str),
    /// Something, and no known signature; or more data than is read for a proof.
    Unknown(&'static str),
}

/// Looks at a device.
///
/// # Errors
/// Unavailable: something can't be read. That is never taken for "empty".
pub(crate) fn probe(source: &impl Source) -> Result<Content> {
    look(source).map_err(|e| {
        Error::unavailable(format_args!(
            "cannot read the device to see whether it is empty: {e}; it is not formatted, repair it or restore the volume"
        ))
    })
}

fn look(source: &impl Source) -> io::Result<Content> {
    let size = source.size()?;
    let head = read(source, 0, size.min(END))?;
    let tail = read(source, size.saturating_sub(END), size.min(END))?;
    if let Some(name) = signature(&head, &tail) {
        return Ok(Content::Known(name));
    }
    if head.iter().chain(&tail).any(|&byte| byte != 0) {
        return Ok(Content::Unknown("data that is no known file system"));
    }
    let (mut offset, mut total) = (0, 0u64);
    while let Some((start, end)) = source.data_from(offset)? {
        let mut at = start;
        while at < end.min(size) {
            let part = read(source, at, (end.min(size) - at).min(CHUNK as u64))?;
            if part.iter().any(|&byte| byte != 0) {
                return Ok(Content::Unknown("data that is no known file system"));
            }
            at += part.len() as u64;
            total += part.len() as u64;
            if total > READ_MAX {
                return Ok(Content::Unknown("more than 4 GiB of allocated data, too much to prove that it is empty"));
            }
        }
        offset = end;
        if offset >= size {
            break;
        }
    }
    Ok(Content::Empty)
}

fn read(source: &impl Source, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; usize::try_from(length).unwrap_or(CHUNK)];
    source.read_at(&mut buffer, offset)?;
    Ok(buffer)
}

/// Offset, bytes, name. What could also be part of something else comes last.
const SIGNATURES: &[(usize, &[u8], &str)] = &[
    (0, b"XFSB", "xfs"),
    (0x1_0040, b"_BHRfS_M", "btrfs"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (0x400, b"\x10\x20\xf5\xf2", "f2fs"),
    (0, b"hsqs", "squashfs"),
    (0x400, b"\xe2\xe1\xf5\xe0", "erofs"),
    (0x8001, b"CD001", "iso9660"),
    (0xff6, b"SWAPSPACE2", "swap"),
    (0xff6, b"SWAP-SPACE", "swap"),
    (0, b"\xfc\x4e\x2b\xa9", "md RAID"),
    (0x1000, b"\xfc\x4e\x2b\xa9", "md RAID"),
    (0x1018, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", "bcache"),
    (3, b"NTFS    ", "ntfs"),
    (3, b"EXFAT   ", "exfat"),
    (0x52, b"FAT32", "vfat"),
    (0x36, b"FAT1", "vfat"),
    (0x10034, b"ReIsEr", "reiserfs"),
    (0, b"-FVE-FS-", "BitLocker"),
    (512, b"EFI PART", "a GPT partition table"),
    (4096, b"EFI PART", "a GPT partition table"),
    (0x438, b"\x53\xef", "ext4"),
    (510, b"\x55\xaa", "an MBR partition table"),
];

/// Name of the first known signature in the first and last MiB.
fn signature(head: &[u8], tail: &[u8]) -> Option<&'static str> {
    let at = |bytes: &[u8], offset: usize, magic: &[u8]| bytes.get(offset..offset + magic.len()) == Some(magic);
    if (0..4).any(|sector| at(head, sector * 512, b"LABELONE")) {
        return Some("an LVM physical volume");
    }
    if let Some((_, _, name)) = SIGNATURES.iter().find(|(offset, magic, _)| at(head, *offset, magic)) {
        return Some(name);
    }
    let from_end =
        |back: usize, magic: &[u8]| tail.len().checked_sub(back).is_some_and(|offset| at(tail, offset, magic));
    if from_end(512, b"EFI PART") || from_end(4096, b"EFI PART") {
        return Some("a backup GPT partition table");
    }
    // Version 1.0 lies 8 KiB before the end, 0.90 in the last whole 64 KiB but one.
    if (0..=(128 * 1024 / 512)).any(|sector| from_end(sector * 512, b"\xfc\x4e\x2b\xa9")) {
        return Some("md RAID");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, SeekFrom, Write};

    fn image(size: u64, writes: &[(u64, &[u8])]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        for (offset, bytes) in writes {
            file.seek(SeekFrom::Start(*offset)).unwrap();
            file.write_all(bytes).unwrap();
        }
        file
    }

    #[test]
    fn holes_and_zeros_are_empty() {
        assert_eq!(probe(&image(64 << 20, &[])).unwrap(), Content::Empty);
        assert_eq!(probe(&image(64 << 20, &[(30 << 20, &[0; 8192])])).unwrap(), Content::Empty);
        assert_eq!(probe(&image(512, &[])).unwrap(), Content::Empty);
    }

    #[test]
    fn one_byte_anywhere_is_not_empty() {
        for offset in [0, 1 << 20, 33_333_333, (64 << 20) - 1] {
            let found = probe(&image(64 << 20, &[(offset, &[1])])).unwrap();
            assert!(matches!(found, Content::Unknown(_)), "{offset}: {found:?}");
        }
    }

    #[test]
    fn signatures_are_named() {
        for (offset, magic, name) in SIGNATURES {
            let found = probe(&image(64 << 20, &[(*offset as u64, magic)])).unwrap();
            assert_eq!(found, Content::Known(name));
        }
        let found = probe(&image(64 << 20, &[((64 << 20) - 512, b"EFI PART")])).unwrap();
        assert_eq!(found, Content::Known("a backup GPT partition table"));
        let found = probe(&image(64 << 20, &[(512, b"LABELONE")])).unwrap();
        assert_eq!(found, Content::Known("an LVM physical volume"));
        let found = probe(&image(64 << 20, &[((64 << 20) - 8192, b"\xfc\x4e\x2b\xa9")])).unwrap();
        assert_eq!(found, Content::Known("md RAID"));
    }

    #[test]
    fn a_disk_is_looked_at_all_over_and_wiped_where_it_is_looked_at() {
        for size in [512, 1 << 20, (64 << 20) + 512, 1 << 40] {
            let places = places(size);
            assert_eq!((places[0].0, places.last().unwrap().1), (0, size));
            assert!(places.windows(2).all(|pair| pair[0].1 < pair[1].0), "sorted and apart");
            assert!(places[0].1 >= size.min(END) && places.last().unwrap().0 <= size.saturating_sub(END));
            assert!(places.iter().map(|(start, end)| end - start).sum::<u64>() < 32 << 20, "a look costs little");
        }
        let size = 4 << 30;
        let file = image(size, &[]);
        let disk = Disk { file: &file, size };
        assert_eq!(probe(&disk).unwrap(), Content::Empty);
        // Beginning and end were overwritten; a copy of the superblock, of ext4 and of btrfs, is left.
        for copy in [8193 << 10, 32768 << 12, (3 * 32768) << 12, 64 << 20, size / 2 + 100, size - END - 1] {
            file.write_all_at(&[1], copy).unwrap();
            let found = probe(&disk).unwrap();
            if copy == size - END - 1 {
                assert_eq!(found, Content::Empty, "not everything is read");
            } else {
                assert!(matches!(found, Content::Unknown(_)), "{copy}: {found:?}");
                wipe(&file, size).unwrap();
                assert_eq!(probe(&disk).unwrap(), Content::Empty);
            }
        }
    }

    /// A device of zeros that can't be read at one place.
    struct Broken {
        size: u64,
        bad: u64,
    }

    impl Source for Broken {
        fn size(&self) -> io::Result<u64> {
            Ok(self.size)
        }
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            buffer.fill(0);
            let range = offset..offset + buffer.len() as u64;
            if range.contains(&self.bad) { Err(Errno::IO.into()) } else { Ok(()) }
        }
        fn data_from(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
            Ok((offset < self.size).then_some((offset, self.size)))
        }
    }

    #[test]
    fn an_unreadable_device_is_never_empty() {
        for bad in [0, 5_000_000, (8 << 20) - 1] {
            let refused = probe(&Broken { size: 8 << 20, bad }).unwrap_err();
            assert!(refused.message().contains("not formatted"), "{refused}");
        }
        assert_eq!(probe(&Broken { size: 8 << 20, bad: u64::MAX }).unwrap(), Content::Empty);
    }

    #[test]
    fn too_much_data_is_not_proven_empty() {
        let found = probe(&Broken { size: READ_MAX + (16 << 20), bad: u64::MAX }).unwrap();
        assert!(matches!(found, Content::Unknown(why) if why.contains("4 GiB")), "{found:?}");
    }
}
