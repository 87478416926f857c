//! The second place: a file that has seen where the audit's chains stood, one signed line for each time.
//!
//! Never reads what it wrote and never rewrites it. Invariant: when [`Witness::attest`] returns, the lines are on the disk, each
//! whole and on a line of its own, also after a line that a crash cut. Next: `service/checkpoint.rs` says when, `brokerctl audit
//! verify --checkpoints` reads.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::domain::checkpoint::{FORMAT, Signed, hex};

/// The file.
#[derive(Clone, Debug)]
pub struct Witness {
    file: PathBuf,
}

impl Witness {
    /// In this file. Made when it is needed first, readable by its owner only.
    pub const fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// Where it is, for people.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Appends the checkpoints, durable when this returns.
    ///
    /// # Errors
    /// The disk is full, or the file cannot be written.
    pub async fn attest(&self, checkpoints: &[Signed]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).append(true).create(true).mode(0o600).open(&self.file).await?;
        let mut text = String::new();
        if is_cut(&mut file).await? {
            text.push('\n');
        }
        for signed in checkpoints {
            text.push_str(&line(signed));
            text.push('\n');
        }
        file.write_all(text.as_bytes()).await?;
        file.flush().await?;
        file.sync_all().await?;
        match self.file.parent() {
            Some(folder) => File::open(folder).await?.sync_all().await,
            None => Ok(()),
        }
    }
}

/// Whether the last line has no end.
async fn is_cut(file: &mut File) -> io::Result<bool> {
    if file.metadata().await?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1)).await?;
    Ok(file.read_u8().await? != b'\n')
}

/// As it is written: one JSON object, bytes in hexadecimal digits.
fn line(signed: &Signed) -> String {
    let at = &signed.checkpoint;
    json!({
        "format": FORMAT,
        "instance": hex(&signed.instance),
        "chain": at.chain,
        "sequence": at.point.sequence,
        "hash": hex(&at.point.hash),
        "time_ms": at.at.millis(),
        "time": at.at.to_string(),
        "key": hex(&signed.key),
        "signature": hex(&signed.signature),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::clock::Time;
    use crate::domain::chain::Point;
    use crate::domain::checkpoint::Checkpoint;

    fn signed(sequence: i64) -> Signed {
        let point = Point { sequence, hash: vec![9; 32] };
        let at = Time::from_millis(1234);
        let checkpoint = Checkpoint { chain: "one".into(), point, at };
        Signed { checkpoint, instance: [1; 16], key: vec![2; 32], signature: vec![3; 64] }
    }

    #[tokio::test]
    async fn lines_are_whole_though_a_crash_cut_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::new(folder.path().join("checkpoints.jsonl"));
        witness.attest(&[signed(1), signed(2)]).await.unwrap();
        let whole = std::fs::read_to_string(witness.file()).unwrap();
        std::fs::write(witness.file(), &whole[..whole.len() - 9]).unwrap();
        witness.attest(&[signed(3)]).await.unwrap();
        let text = std::fs::read_to_string(witness.file()).unwrap();
        let lines: Vec<_> = text.lines().map(serde_json::from_str::<serde_json::Value>).collect();
        assert!(lines.len() == 3 && lines[1].is_err(), "{text}");
        assert_eq!(lines[2].as_ref().unwrap()["sequence"], 3);
        let mode = std::fs::metadata(witness.file()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }
}
