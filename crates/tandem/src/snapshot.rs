//! The last route table on disk: what a node routes by when it is started while the database is away.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tandem_model::Facts;

/// Where in `data_dir` it is kept.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("routes.json")
}

/// Reads what was saved; `None` where nothing was.
pub fn load(path: &Path) -> io::Result<Option<Facts>> {
    match File::open(path) {
        Ok(file) => Ok(Some(serde_json::from_reader(BufReader::new(file))?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts `facts` in the place of what was saved, whole or not at all.
pub fn save(path: &Path, facts: &Facts) -> io::Result<()> {
    let new = path.with_extension("new");
    // It has what proves who members are: nobody else reads it.
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    let mut file = BufWriter::new(file);
    serde_json::to_writer(&mut file, facts)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = path(dir.path());
        assert_eq!(load(&path).expect("readable"), None);
        let facts = Facts { position: 7, ..Facts::default() };
        save(&path, &facts).expect("writable");
        save(&path, &facts).expect("writable again");
        assert_eq!(load(&path).expect("readable"), Some(facts));
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "it is nobody else's to read");
    }
}
