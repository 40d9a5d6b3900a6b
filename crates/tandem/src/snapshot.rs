//! The last route table on disk: what a node routes by when it is started while the database is away.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
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
    let mut file = BufWriter::new(File::create(&new)?);
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
    }
}
