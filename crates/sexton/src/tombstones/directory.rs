//! The directory that the containers of a pod share.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

/// Makes the directory if it is not there. One that is there is left as it is.
pub fn make(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        // It is ours, and the umask may have taken something away.
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        // Somebody was faster: it is his.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// The kind of its file system, where that does not tell us of what others write from elsewhere, such as
/// another machine; numbers as in statfs(2).
#[must_use]
pub fn tells_nothing(path: &Path) -> Option<&'static str> {
    const KINDS: [(u32, &str); 9] = [
        (0x0102_1997, "9p"),
        (0x794c_7630, "overlay"),
        (0x6573_5546, "FUSE"),
        (0x6969, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x517b, "SMB"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
    ];
    let magic = rustix::fs::statfs(path).ok()?.f_type;
    KINDS.iter().find(|(number, _)| i64::from(*number) == magic).map(|(_, name)| *name)
}
