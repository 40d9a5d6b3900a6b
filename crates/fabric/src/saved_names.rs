//! The last good answers of the DNS on disk, so that a node which starts while the DNS is away knows where names lead
//! (RFC 8767). One file beside the route table, written whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ahash::AHashMap;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::Target;

use crate::name_cache::NameCache;
use crate::resolution::{Question, Record};

/// Where in the data directory it is kept.
const FILE: &str = "names.json";

/// An answer as the file has it.
#[derive(Serialize, Deserialize)]
struct SavedAnswer {
    question: Question,
    records: Vec<Record>,
    answered_at: DateTime<Utc>,
}

/// The answers about the names of targets.
type Saved = Vec<(Target, Vec<SavedAnswer>)>;

/// Where the answers are kept between two runs.
#[derive(Debug)]
pub(crate) struct SavedNames {
    path: PathBuf,
}

/// The present, on the clock that waits are measured by and on the one that survives a restart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present {
    pub(crate) instant: Instant,
    pub(crate) utc: DateTime<Utc>,
}

impl SavedNames {
    pub(crate) fn within(data_dir: &Path) -> Self {
        Self { path: data_dir.join(FILE) }
    }

    /// What was saved, all of it due to be asked again. Nothing where there is no file, or none that can be read: that is
    /// logged, and the names are asked for as those of a new node.
    pub(crate) fn load(&self, now: Present) -> AHashMap<Target, NameCache> {
        let saved = File::open(&self.path).and_then(|file| {
            let saved: Saved = serde_json::from_reader(BufReader::new(file))?;
            Ok(saved)
        });
        let saved = match saved {
            Ok(saved) => saved,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    let path = self.path.display();
                    tracing::warn!(%path, %error, "cannot read what the DNS answered before; it is asked anew");
                }
                return AHashMap::new();
            }
        };
        let caches = saved.into_iter().map(|(target, answers)| {
            let mut cache = NameCache::default();
            for SavedAnswer { question, records, answered_at } in answers {
                // One from the future is as old as none: a clock was set.
                let age = (now.utc - answered_at).max(TimeDelta::zero()).to_std().unwrap_or_default();
                if let Some(answered_at) = now.instant.checked_sub(age) {
                    cache.restore(question, records, answered_at, now.instant);
                }
            }
            (target, cache)
        });
        caches.collect()
    }

    /// Puts the answers that are known in the place of what was saved.
    pub(crate) fn save<'n>(
        &self,
        names: impl Iterator<Item = (&'n Target, &'n NameCache)>,
        now: Present,
    ) -> io::Result<()> {
        let saved: Saved = names
            .map(|(target, cache)| {
                let answers = cache.answers().map(|(question, records, answered_at)| {
                    let age = now.instant.saturating_duration_since(answered_at);
                    let answered_at = now.utc - TimeDelta::from_std(age).unwrap_or_default();
                    SavedAnswer { question: question.clone(), records: records.to_vec(), answered_at }
                });
                (target.clone(), answers.collect())
            })
            .collect();
        let new = self.path.with_extension("new");
        let mut file = BufWriter::new(File::create(&new)?);
        serde_json::to_writer(&mut file, &saved)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        fs::rename(new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::name_cache::Reply;
    use crate::resolution::{Answer, RecordKind};

    const HOUR: Duration = Duration::from_secs(3_600);

    #[allow(clippy::disallowed_methods)] // Any instant will do as the origin of simulated time.
    fn present(after: Duration) -> Present {
        let utc = DateTime::from_timestamp(1_800_000_000, 0).unwrap() + after;
        Present { instant: Instant::now() + after, utc }
    }

    #[test]
    fn answers_survive_with_their_age_and_are_asked_again_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let saved = SavedNames::within(folder.path());
        assert!(saved.load(present(Duration::ZERO)).is_empty(), "there is nothing yet");
        let target: Target = "sip:acme.example".parse().unwrap();
        let (known, none) =
            (Question::new("acme.example", RecordKind::A), Question::new("acme.example", RecordKind::Aaaa));
        let failed = Question::new("acme.example", RecordKind::Naptr);
        let records = vec![Record::Address([192, 0, 2, 1].into())];
        let (start, mut cache) = (present(Duration::ZERO), NameCache::default());
        for (question, reply) in [
            (&known, Reply::Records(records.clone(), HOUR)),
            (&none, Reply::Nothing(None)),
            (&failed, Reply::Failed),
        ] {
            cache.note(question.clone(), reply, start.instant, 0.5, HOUR);
        }
        saved.save([(&target, &cache)].into_iter(), start).unwrap();

        // Half an hour later, by a clock of its own that began elsewhere.
        let mut later = present(HOUR / 2);
        later.instant += Duration::from_secs(7);
        let mut loaded = saved.load(later).remove(&target).expect("it was saved");
        assert_eq!(loaded.answer(&known, later.instant), None, "it is due");
        assert_eq!(loaded.last_answer(&known, later.instant, HOUR), Some(Answer::Records(&records)));
        assert_eq!(loaded.last_answer(&none, later.instant, HOUR), Some(Answer::Records(&[])));
        assert_eq!(loaded.last_answer(&failed, later.instant, HOUR), None, "there was no answer");
        assert_eq!(loaded.last_answer(&known, later.instant, HOUR / 3), None, "it is too old");
        loaded.note(known.clone(), Reply::Failed, later.instant, 0.5, HOUR);
        assert_eq!(loaded.answer(&known, later.instant), Some(Answer::Records(&records)), "it goes on");
        let late = later.instant + HOUR;
        loaded.note(known.clone(), Reply::Failed, late, 0.5, HOUR);
        assert_eq!(loaded.answer(&known, late), Some(Answer::Failed), "its age did not begin anew");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "[[\"sip:acme.example\", [{}]]]").unwrap();
        assert!(SavedNames::within(folder.path()).load(present(Duration::ZERO)).is_empty());
    }
}
