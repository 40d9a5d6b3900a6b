//! The directory in which a node keeps what must survive it: who it is, its journal, its last route table.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rand::Rng;
use tandem_model::NodeId;

/// A data directory that this process holds alone.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    // Held as long as this lives; the system releases it however the process ends.
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process holds it.
    #[error("another tandem process uses {}; stop it, or give this one a data_dir of its own", .0.display())]
    InUse(PathBuf),
    /// The file that holds the node's id holds something else.
    #[error("{} does not hold a node id; restore it, or remove it for the node to become a new one", .0.display())]
    NoNodeId(PathBuf),
    /// The system refused something.
    #[error("cannot {doing} {}: {error}; check its owner and permissions", .path.display())]
    File {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |error| DataDirError::File { doing, path, error }
}

/// How often the lock is tried: a program that its last holder has just started holds it, too, for the moment
/// between fork and exec.
const LOCK_TRIES: u32 = 20;

/// Pause between two tries.
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

impl DataDir {
    /// Makes the directory if it is not there, and holds it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        // Others may pass: the private cluster runs as another user when this process is root's.
        fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed("make", path))?;
        let lock_path = path.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(failed("open", &lock_path))?;
        for _ in 0..LOCK_TRIES {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path: path.to_owned(), _lock: lock }),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(error)) => return Err(failed("lock", &lock_path)(error)),
            }
        }
        Err(DataDirError::InUse(path.to_owned()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The node's id: made at its first start, the same ever after.
    pub fn node_id(&self, rng: &mut impl Rng) -> Result<NodeId, DataDirError> {
        let path = self.path.join("node_id");
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(NodeId).map_err(|_| DataDirError::NoNodeId(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut octets = [0; 16];
                rng.fill_bytes(&mut octets);
                let id = uuid::Builder::from_random_bytes(octets).into_uuid();
                let new = path.with_extension("new");
                let write = || {
                    let mut file = File::create(&new)?;
                    writeln!(file, "{id}")?;
                    file.sync_all()?;
                    fs::rename(&new, &path)
                };
                write().map_err(failed("write", &path))?;
                Ok(NodeId(id))
            }
            Err(error) => Err(failed("read", &path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_node_keeps_its_id() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut rng = StdRng::seed_from_u64(1);
        let first = DataDir::open(dir.path()).expect("opens").node_id(&mut rng).expect("is made");
        let second = DataDir::open(dir.path()).expect("opens").node_id(&mut rng).expect("is read");
        assert_eq!(first, second);
    }

    #[test]
    fn two_processes_never_share_a_journal() {
        let dir = tempfile::tempdir().expect("a directory");
        let _first = DataDir::open(dir.path()).expect("opens");
        assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::InUse(_))));
    }

    #[test]
    fn a_spoilt_id_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("node_id"), "ams-1\n").expect("writable");
        let data_dir = DataDir::open(dir.path()).expect("opens");
        let error = data_dir.node_id(&mut StdRng::seed_from_u64(1)).expect_err("no id");
        assert!(matches!(error, DataDirError::NoNodeId(_)), "{error}");
    }
}
