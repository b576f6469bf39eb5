//! The socket for the command line: only the owner of the data folder can open it.
//!
//! Not here: what is asked through it ([`super::http`]).

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::SOCKET;

/// Binds the socket of a data folder, in place of one that a process left behind. The caller holds
/// the journal of that folder, so nobody else can be listening.
///
/// # Errors
/// The folder cannot be written, or its path is longer than the system allows for a socket (about 100
/// bytes).
pub(super) fn bind(data_dir: &Path) -> io::Result<(UnixListener, PathBuf)> {
    // A socket is born with the permissions that the umask leaves. So it is born where nobody else
    // can reach it, and moved when its mode is right; the move also replaces a stale one.
    let cradle = data_dir.join(".socket");
    let _ = fs::remove_dir_all(&cradle);
    DirBuilder::new().mode(0o700).create(&cradle)?;
    let bound = bind_in(&cradle, &data_dir.join(SOCKET));
    let _ = fs::remove_dir_all(&cradle);
    bound
}

fn bind_in(cradle: &Path, path: &Path) -> io::Result<(UnixListener, PathBuf)> {
    let born = cradle.join("s");
    let listener = UnixListener::bind(&born)?;
    fs::set_permissions(&born, Permissions::from_mode(0o600))?;
    fs::rename(&born, path)?;
    Ok((listener, path.to_path_buf()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_only_its_owner_may_open_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (stale, path) = bind(folder.path()).unwrap();
        drop(stale);
        assert!(UnixStream::connect(&path).is_err(), "nobody listens there any more");

        let (_listener, path) = bind(folder.path()).unwrap();

        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }
}
