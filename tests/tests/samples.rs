//! The samples of `deploy/examples` are configurations that the programs accept.
//!
//! Never edits them but for what only a real host has: certificates, keys, and the folder they are in.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

/// Where the samples say that a host keeps its keys.
const HOST_FOLDER: &str = "/etc/token-broker/";

#[test]
fn the_sample_of_the_broker_is_accepted() -> Result<()> {
    let sample = example("token-broker.toml");
    told(program("token-broker")?.arg("check-config").arg("--config").arg(sample).output()?)
}

#[test]
fn the_samples_of_the_adapters_are_accepted() -> Result<()> {
    for protocol in ["imap", "smtp"] {
        let host = tempfile::tempdir()?;
        let tls = host.path().join("tls");
        std::fs::create_dir(&tls)?;
        let certified = rcgen::generate_simple_self_signed(vec!["mail.example.com".to_owned()])?;
        std::fs::write(tls.join("chain.pem"), certified.cert.pem())?;
        private(&tls.join("key.pem"), &certified.signing_key.serialize_pem())?;
        private(&host.path().join(format!("{protocol}.key")), "tbk_sample\n")?;

        let sample = std::fs::read_to_string(example(&format!("{protocol}-adapter.toml")))?;
        ensure!(sample.contains(HOST_FOLDER), "the sample names its files in {HOST_FOLDER}");
        let config = host.path().join("adapter.toml");
        std::fs::write(&config, sample.replace(HOST_FOLDER, ""))?;
        let mut adapter = program(&format!("{protocol}-adapter"))?;
        told(adapter.arg("--check-config").arg("--config").arg(config).output()?)?;
    }
    Ok(())
}

#[test]
fn a_sample_with_a_wrong_word_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("token-broker.toml");
    let sample = std::fs::read_to_string(example("token-broker.toml"))?;
    std::fs::write(&config, sample.replace("public_url", "public_uri"))?;
    let refused =
        program("token-broker")?.arg("check-config").arg("--config").arg(config).output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("public_uri"), "{said}");
    Ok(())
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples").join(name)
}

/// A program of ours: cargo puts it one folder above its tests.
fn program(name: &str) -> Result<Command> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).context("target/debug/deps/TEST")?;
    let path = folder.join(name);
    ensure!(path.is_file(), "{} is not there: run `cargo build --workspace` first", path.display());
    Ok(Command::new(path))
}

fn private(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}

fn told(output: Output) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(())
}
