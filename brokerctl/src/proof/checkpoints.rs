//! Reads the second place: signed lines that say where chains stood.
//!
//! Never believes a line without its signature. Invariant: a line that a crash cut is counted and proves nothing; one that
//! is whole and not signed by a given key is an error.

use std::io::{BufRead, BufReader};
use std::path::Path;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use serde::Deserialize;

use super::unhex;
use crate::failure::Failure;

const FORMAT: &str = "token-broker/audit-checkpoint/1";

/// A line as it is written.
#[derive(Debug, Deserialize)]
pub(crate) struct Checkpoint {
    format: String,
    instance: String,
    pub(crate) chain: String,
    pub(crate) sequence: i64,
    pub(crate) hash: String,
    time_ms: i64,
    pub(crate) time: String,
    key: String,
    signature: String,
}

/// All of a file.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    /// Those that are signed.
    pub(crate) all: Vec<Checkpoint>,
    /// Lines that are no checkpoints.
    pub(crate) unreadable: u64,
}

impl Checkpoints {
    /// Reads `file` and checks every signature against `keys`; `instance` is in hexadecimal digits.
    pub(crate) fn read(file: &Path, instance: &str, keys: &[Vec<u8>]) -> Result<Self, Failure> {
        let shown = file.display();
        let unreadable = |error: std::io::Error| {
            Failure::usage(format!("cannot read {shown}: {error}"), "check the path")
        };
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        let mut found = Self::default();
        for (number, line) in BufReader::new(opened).lines().enumerate() {
            let line = line.map_err(unreadable)?;
            let parsed = serde_json::from_str(&line).ok();
            let Some(checkpoint) = parsed.filter(|it: &Checkpoint| it.format == FORMAT) else {
                found.unreadable += 1;
                continue;
            };
            checkpoint.check(instance, keys).map_err(|why| Failure::Broken {
                what: format!("{shown}, line {}: {why}", number + 1),
                remedy:
                    "get the file from where it was shipped to, and the keys from your own notes"
                        .into(),
            })?;
            found.all.push(checkpoint);
        }
        Ok(found)
    }
}

impl Checkpoint {
    fn check(&self, instance: &str, keys: &[Vec<u8>]) -> Result<(), String> {
        if self.instance != instance {
            return Err(format!("it is a checkpoint of another instance, {}", self.instance));
        }
        let key = unhex(&self.key).unwrap_or_default();
        if !keys.contains(&key) {
            return Err(format!("it is signed by {}, which is none of the keys", self.key));
        }
        if self.chain.contains(char::is_control) {
            return Err("its chain has a name that none has".to_owned());
        }
        let Self { chain, sequence, hash, time_ms, .. } = self;
        let signed = format!("{FORMAT}\n{instance}\n{chain}\n{sequence}\n{hash}\n{time_ms}\n");
        let signature = unhex(&self.signature).unwrap_or_default();
        UnparsedPublicKey::new(&ED25519, &key)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| "its signature is wrong".to_owned())
    }
}
