//! Answers of providers that the store could not take: sealed files on this host, until it can.
//!
//! Never holds anything in clear, and never the only copy for long: each file is stored first of all at the next start, or
//! sooner. Invariant: when [`Spill::put`] returns, file and folder are on the disk; a file is removed only after its content
//! is in the store. Next: `service/spilled` says what is in them.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::fs;
use tokio::io::AsyncWriteExt;

use crate::domain::ids::AttemptId;
use crate::domain::secret::Sealed;

/// No answer with its tokens is larger.
const LARGEST: u64 = 1024 * 1024;
const KIND: &str = "spill";
const ASIDE: &str = "unreadable";

/// The folder of spill files. Made when it is needed first.
#[derive(Clone, Debug)]
pub struct Spill {
    folder: PathBuf,
}

impl Spill {
    /// In this folder.
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where they are, for people.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes one, durable when this returns.
    ///
    /// # Errors
    /// The disk is full, or the folder cannot be written.
    pub async fn put(&self, attempt: AttemptId, answer: &Sealed) -> io::Result<()> {
        fs::create_dir_all(&self.folder).await?;
        fs::set_permissions(&self.folder, std::fs::Permissions::from_mode(0o700)).await?;
        let (part, whole) = (self.file(attempt, "part"), self.file(attempt, KIND));
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&part).await?;
        file.write_all(answer.as_bytes()).await?;
        file.sync_all().await?;
        drop(file);
        fs::rename(&part, &whole).await?;
        self.sync().await
    }

    /// Forgets one whose content is in the store.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub async fn remove(&self, attempt: AttemptId) -> io::Result<()> {
        match fs::remove_file(self.file(attempt, KIND)).await {
            Ok(()) => self.sync().await,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Keeps one that cannot be read, under another name, for an operator to look at.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub async fn set_aside(&self, attempt: AttemptId) -> io::Result<PathBuf> {
        let aside = self.file(attempt, ASIDE);
        fs::rename(self.file(attempt, KIND), &aside).await?;
        Ok(aside)
    }

    /// All that are there, oldest first.
    ///
    /// # Errors
    /// The folder or a file cannot be read.
    pub async fn all(&self) -> io::Result<Vec<(AttemptId, Sealed)>> {
        let mut entries = match fs::read_dir(&self.folder).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let path = entry.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            let attempt = name.filter(|_| path.extension().is_some_and(|kind| kind == KIND));
            let Some(attempt) = attempt.and_then(AttemptId::parse) else { continue };
            if entry.metadata().await?.len() <= LARGEST {
                found.push((attempt, Sealed::from_bytes(fs::read(&path).await?)));
            }
        }
        // The ids begin with the time.
        found.sort_by_key(|(attempt, _)| *attempt);
        Ok(found)
    }

    fn file(&self, attempt: AttemptId, kind: &str) -> PathBuf {
        self.folder.join(format!("{attempt}.{kind}"))
    }

    async fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.folder).await?.sync_all().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use crate::entropy::Entropy;

    fn attempt(millis: i64) -> AttemptId {
        AttemptId::new(Time::from_millis(millis), &Entropy::seeded(7))
    }

    #[tokio::test]
    async fn what_was_put_is_there_oldest_first_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::new(folder.path().join("spill"));
        assert!(spill.all().await.unwrap().is_empty(), "no folder yet");
        for (millis, text) in [(2_000, b"second"), (1_000, b"first.")] {
            spill.put(attempt(millis), &Sealed::from_bytes(text.to_vec())).await.unwrap();
        }
        let all = spill.all().await.unwrap();
        let texts: Vec<&[u8]> = all.iter().map(|(_, sealed)| sealed.as_bytes()).collect();
        assert_eq!(texts, [b"first.", b"second"]);
        spill.remove(all[0].0).await.unwrap();
        spill.remove(all[0].0).await.unwrap();
        assert_eq!(spill.all().await.unwrap().len(), 1);
        let aside = spill.set_aside(all[1].0).await.unwrap();
        assert!(aside.is_file() && spill.all().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn nobody_else_may_read_them_and_half_a_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::new(folder.path().join("spill"));
        spill.put(attempt(1), &Sealed::from_bytes(vec![1; 9])).await.unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(spill.folder()), 0o700);
        assert_eq!(mode(&spill.file(attempt(1), KIND)), 0o600);
        std::fs::write(spill.file(attempt(2), "part"), b"half").unwrap();
        std::fs::write(spill.folder().join("notes.txt"), b"of a person").unwrap();
        assert_eq!(spill.all().await.unwrap().len(), 1);
    }
}
