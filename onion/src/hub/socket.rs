//! `Bound`: the hub's socket file: made, kept private, and taken away again.
//!
//! Promises that nothing is ever removed but a socket that nobody serves, or the very socket that was made here:
//! whatever else stands at the path, before or later, stays as it is. Leaves serving to `serve`.

use std::fs::{Metadata, Permissions, remove_file, set_permissions, symlink_metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// Only the own user may join: whoever opens the socket may speak for any address.
const MODE: u32 = 0o600;

/// A socket file that exists because of us; dropping it removes that file, if it is still that file.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
    /// Device and inode of what we made.
    made: (u64, u64),
}

/// Why no socket could be made; nothing was removed or changed then.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something that is no socket stands there.
    #[error("there is something else at the socket's path")]
    Occupied,
    /// Another hub serves it (or something that cannot be asked whether it does).
    #[error("another hub serves this socket")]
    Served,
    /// The system refused.
    #[error("the socket could not be made: {0}")]
    System(#[from] io::Error),
}

/// Makes the hub's socket at `path`, mode 0600; replaces only a socket that a killed hub has left behind.
pub fn bind(path: &Path) -> Result<(UnixListener, Bound), BindError> {
    match symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::Occupied),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => remove_file(path)?,
            _ => return Err(BindError::Served),
        },
    }
    let listener = UnixListener::bind(path)?;
    let bound = Bound { path: path.to_owned(), made: which(&symlink_metadata(path)?) };
    set_permissions(path, Permissions::from_mode(MODE))?;
    Ok((listener, bound))
}

fn which(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Drop for Bound {
    fn drop(&mut self) {
        if symlink_metadata(&self.path)
            .is_ok_and(|found| found.file_type().is_socket() && which(&found) == self.made)
        {
            // If this fails the file stays, and the next hub finds that nobody serves it.
            let _stays = remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("onion-socket-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn what_is_no_socket_is_refused_and_stays() {
        let folder = Folder::new("occupied");
        let (file, link) = (folder.0.join("file"), folder.0.join("link"));
        fs::write(&file, "precious").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link, &folder.0] {
            assert!(matches!(bind(path), Err(BindError::Occupied)));
        }
        assert_eq!(fs::read_to_string(&link).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_served_socket_is_refused_and_still_served() {
        let folder = Folder::new("served");
        let path = folder.0.join("hub");
        let (_listener, _bound) = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(BindError::Served)));
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_the_own_one_is_removed() {
        let folder = Folder::new("left");
        let path = folder.0.join("hub");
        drop(UnixListener::bind(&path).unwrap());
        let (listener, bound) = bind(&path).unwrap();
        assert_eq!(symlink_metadata(&path).unwrap().mode() & 0o777, MODE);
        drop((listener, bound));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_took_the_place_of_the_own_socket_stays() {
        let folder = Folder::new("taken");
        let path = folder.0.join("hub");
        let (listener, bound) = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        drop((listener, bound));
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody else's");
    }
}
