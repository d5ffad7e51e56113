//! Parts of plans that tests change.

use bulkhead_domain::plan::{Directory, Filesystem, Scratch, Usage};

/// Options of the mount.
pub fn options_of(usage: &mut Usage) -> &mut Vec<String> {
    match usage {
        Usage::Filesystem(filesystem) => &mut filesystem.mount_options,
        Usage::Directory(directory) => &mut directory.mount_options,
        Usage::Block(_) => panic!("a raw device has no mount"),
    }
}

/// For reading only.
pub fn only_read(usage: &mut Usage) {
    match usage {
        Usage::Filesystem(filesystem) => filesystem.read_only = true,
        Usage::Directory(directory) => directory.read_only = true,
        Usage::Block(block) => block.read_only = true,
    }
}

/// A directory with these options.
pub fn directory(options: &[&str]) -> Directory {
    Directory { mount_options: options.iter().map(|&option| option.to_owned()).collect(), read_only: false }
}

/// The file system of a scratch image.
pub fn image_of(scratch: &mut Scratch) -> &mut Filesystem {
    match scratch {
        Scratch::Image(filesystem) => filesystem,
        Scratch::Directory(_) => panic!("not an image"),
    }
}

/// Changes how a scratch volume is used.
pub fn change_scratch(scratch: &mut Scratch, change: impl FnOnce(&mut Usage)) {
    let mut usage = scratch.usage();
    change(&mut usage);
    *scratch = match usage {
        Usage::Filesystem(filesystem) => Scratch::Image(filesystem),
        Usage::Directory(directory) => Scratch::Directory(directory),
        Usage::Block(_) => panic!("a scratch volume is mounted"),
    };
}
