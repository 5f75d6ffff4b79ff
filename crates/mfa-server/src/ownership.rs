//! Owner, mode and access control list of files.
//!
//! Commands may run as root beside a server that runs as another user. The files that they write must stay readable
//! for that server; otherwise it answers 503 and does not start again.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::{Mode, OFlags, XattrFlags, fsetxattr, getxattr, open};
use rustix::io::Errno;
use rustix::process::geteuid;

/// The extended attribute in which Linux stores the access control list of a file.
const ACCESS_LIST: &str = "system.posix_acl_access";

/// The largest value that an extended attribute may have on Linux.
const MAX_BYTES: usize = 65_536;

/// The owner, group, mode and access control list of an existing file.
#[derive(Debug)]
pub(crate) struct Ownership {
    user: u32,
    group: u32,
    mode: u32,
    access_list: Option<Vec<u8>>,
}

impl Ownership {
    /// Reads them from the file at `path`, whose metadata is `metadata`.
    pub(crate) fn of(path: &Path, metadata: &Metadata) -> io::Result<Self> {
        let mut value = Vec::with_capacity(MAX_BYTES);
        let access_list = match getxattr(path, ACCESS_LIST, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => Some(value),
            Err(Errno::NODATA | Errno::NOTSUP) => None,
            Err(error) => return Err(error.into()),
        };
        let (user, group) = (metadata.uid(), metadata.gid());
        Ok(Self { user, group, mode: metadata.mode() & 0o7777, access_list })
    }

    /// Applies all of them to another file.
    pub(crate) fn give(&self, to: &File) -> io::Result<()> {
        let metadata = to.metadata()?;
        if (metadata.uid(), metadata.gid()) != (self.user, self.group) {
            fchown(to, Some(self.user), Some(self.group))?;
        }
        if let Some(list) = &self.access_list {
            fsetxattr(to, ACCESS_LIST, list, XattrFlags::empty())?;
        }
        // The mode comes last, since a change of the owner clears bits of it.
        to.set_permissions(Permissions::from_mode(self.mode))
    }
}

/// Gives a new file or directory to the owner of its folder, if root created it. If that fails, root keeps it; no
/// other file was replaced.
pub(crate) fn give_to_owner_of(folder: &Path, new: &File) {
    if !geteuid().is_root() {
        return;
    }
    if let Ok(metadata) = folder.metadata() {
        let _ = fchown(new, Some(metadata.uid()), Some(metadata.gid()));
    }
}

/// Opens a directory that was just created; fails on a link that an attacker put in its place.
pub(crate) fn open_made(dir: &Path) -> io::Result<File> {
    Ok(open(dir, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn mode_and_access_list_are_given_on() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for path in [&from, &to] {
            fs::write(path, "").unwrap();
        }
        // Version 2: the owner may read and write, user 12345 may read, nobody else may.
        let entry = |tag: u16, mode: u16, id: u32| {
            [&tag.to_le_bytes()[..], &mode.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let list = [
            2_u32.to_le_bytes().to_vec(),
            entry(0x01, 6, u32::MAX),
            entry(0x02, 4, 12345),
            entry(0x04, 0, u32::MAX),
            entry(0x10, 4, u32::MAX),
            entry(0x20, 0, u32::MAX),
        ]
        .concat();
        let set = fsetxattr(File::open(&from).unwrap(), ACCESS_LIST, &list, XattrFlags::empty());
        let supported = match set {
            Ok(()) => true,
            Err(Errno::NOTSUP) => false,
            Err(error) => panic!("{error}"),
        };
        fs::set_permissions(&from, Permissions::from_mode(0o640)).unwrap();
        let ownership = Ownership::of(&from, &from.metadata().unwrap()).unwrap();
        assert_eq!(ownership.access_list.is_some(), supported);
        ownership.give(&File::open(&to).unwrap()).unwrap();
        assert_eq!(to.metadata().unwrap().mode() & 0o7777, 0o640);
        assert_eq!(Ownership::of(&to, &to.metadata().unwrap()).unwrap().access_list, ownership.access_list);
    }
}
