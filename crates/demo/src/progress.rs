//! Which questions are answered, kept in a file, so that a restart loses none and answers none twice.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use towline_client::Position;

/// The questions' progress. Questions come in order and are finished in any.
#[derive(Debug)]
pub struct Progress {
    path: PathBuf,
    /// Everything up to here is finished.
    after: Option<Position>,
    /// What came behind it, in order, and whether it is finished.
    open: VecDeque<(Position, bool)>,
    /// Finished before the last restart, behind `after`: to be passed over when they come again.
    finished_before: Vec<Position>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    after: Option<Position>,
    #[serde(default)]
    finished: Vec<Position>,
}

impl Progress {
    /// Takes up what is saved in `folder`, or begins anew.
    ///
    /// # Errors
    /// The folder or the file cannot be used. Remove the file to begin anew.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the state folder {}", folder.display()))?;
        let path = folder.join("questions.json");
        let saved = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} cannot be understood; remove it to begin anew", path.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Saved::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { path, after: saved.after, open: VecDeque::new(), finished_before: saved.finished })
    }

    /// Behind which position questions are still to be looked at.
    pub fn after(&self) -> Option<Position> {
        self.after
    }

    /// An event came. Gives whether it is to be worked on.
    pub fn came(&mut self, position: Position) -> bool {
        let finished = self.finished_before.contains(&position);
        self.open.push_back((position, finished));
        !finished
    }

    /// The work on an event is over. Saved at once: a crash afterwards does not repeat it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finished(&mut self, position: Position) -> anyhow::Result<()> {
        if let Some(entry) = self.open.iter_mut().find(|(at, _)| *at == position) {
            entry.1 = true;
        }
        while let Some((at, true)) = self.open.front().copied() {
            self.after = Some(at);
            self.open.pop_front();
        }
        self.save()
    }

    /// Written beside and renamed, so that a crash leaves either the old file or the new one.
    fn save(&self) -> anyhow::Result<()> {
        let finished = self.open.iter().filter(|(_, finished)| *finished).map(|(at, _)| *at);
        // Those that did not come again yet stay known.
        let unseen = self.finished_before.iter().copied().filter(|at| {
            self.after.is_some_and(|after| after.epoch == at.epoch && after.offset < at.offset)
                && self.open.iter().all(|(open, _)| open != at)
        });
        let saved = Saved { after: self.after, finished: finished.chain(unseen).collect() };
        let beside = self.path.with_extension("json.tmp");
        let write = || -> io::Result<()> {
            let mut file = fs::File::create(&beside)?;
            file.write_all(&serde_json::to_vec(&saved)?)?;
            file.sync_all()?;
            fs::rename(&beside, &self.path)
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_client::Epoch;

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch(1), offset }
    }

    #[test]
    fn a_restart_repeats_what_was_open_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut progress = Progress::open(folder.path()).unwrap();
        assert_eq!(progress.after(), None);
        assert!((1..=4).all(|offset| progress.came(at(offset))));
        progress.finished(at(1)).unwrap();
        progress.finished(at(3)).unwrap();
        assert_eq!(progress.after(), Some(at(1)));
        drop(progress);

        let mut progress = Progress::open(folder.path()).unwrap();
        assert_eq!(progress.after(), Some(at(1)));
        let again: Vec<_> = (2..=5).filter(|offset| progress.came(at(*offset))).collect();
        assert_eq!(again, [2, 4, 5]);
        progress.finished(at(2)).unwrap();
        assert_eq!(progress.after(), Some(at(3)));
    }

    #[test]
    fn a_restart_before_anything_came_again_forgets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut progress = Progress::open(folder.path()).unwrap();
        (1..=4).for_each(|offset| assert!(progress.came(at(offset))));
        progress.finished(at(1)).unwrap();
        progress.finished(at(4)).unwrap();
        drop(progress);
        let mut progress = Progress::open(folder.path()).unwrap();
        assert!(progress.came(at(2)));
        progress.finished(at(2)).unwrap();
        drop(progress);
        let mut progress = Progress::open(folder.path()).unwrap();
        assert!(progress.came(at(3)) && !progress.came(at(4)));
    }

    #[test]
    fn a_damaged_file_is_told_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("questions.json"), "{").unwrap();
        let error = Progress::open(folder.path()).unwrap_err();
        assert!(format!("{error:#}").contains("remove it"));
        assert_eq!(fs::read(folder.path().join("questions.json")).unwrap(), b"{");
    }
}
