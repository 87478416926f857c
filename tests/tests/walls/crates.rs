//! The arrows between crates, as their `Cargo.toml` files draw them.
//!
//! Never looks at features. Invariant: a crate that is not in the table is a finding, and so is one without the workspace's
//! lints. Next: `deny.toml` judges the crates of others.

use anyhow::Result;

use crate::finding::Finding;

/// Each crate of ours by its folder: its package name and the crates of ours it may name outside tests.
const CRATES: [(&str, &str, &[&str]); 10] = [
    ("proto", "tokenbroker-proto", &[]),
    ("proto/codegen", "proto-codegen", &[]),
    ("client-sdk/rust", "token-broker-client", &["tokenbroker-proto"]),
    ("adapter-core", "adapter-core", &["token-broker-client"]),
    (
        "adapter-core/testkit",
        "adapter-testkit",
        &["tokenbroker-proto", "token-broker-client", "adapter-core"],
    ),
    ("imap-adapter", "imap-adapter", &["adapter-core"]),
    ("smtp-adapter", "smtp-adapter", &["adapter-core"]),
    ("brokerctl", "brokerctl", &["token-broker-client"]),
    ("broker", "token-broker", &["tokenbroker-proto"]),
    (
        "tests",
        "e2e",
        &[
            "tokenbroker-proto",
            "token-broker-client",
            "adapter-core",
            "imap-adapter",
            "smtp-adapter",
            "brokerctl",
            "token-broker",
        ],
    ),
];

/// Crates that hold a protocol's words: what of others they may not depend on.
const PURE: [&str; 2] = ["imap-adapter", "smtp-adapter"];
const SOCKETS: [&str; 6] = ["tokio", "tokio-rustls", "rustls", "tonic", "hyper", "axum"];

/// Every wrong dependency of one manifest.
///
/// # Errors
/// The file is not TOML.
pub(crate) fn check(path: &str, text: &str) -> Result<Vec<Finding>> {
    let manifest: toml::Table = toml::from_str(text)?;
    let Some(folder) = path.strip_suffix("/Cargo.toml") else { return Ok(Vec::new()) };
    let Some((_, _, may)) = CRATES.iter().find(|(place, ..)| *place == folder) else {
        let told = "this crate is not in the table. Say in tests/tests/walls/crates.rs and ARCHITECTURE.md what it may name";
        return Ok(vec![Finding::new(path, 1, told)]);
    };
    let mut findings = Vec::new();
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    if lints != Some(&toml::Value::Boolean(true)) {
        findings.push(Finding::new(
            path,
            1,
            "says no [lints] workspace = true. Add it: the lints hold for all",
        ));
    }
    for name in dependencies(&manifest, &["dependencies", "build-dependencies"]) {
        let ours = CRATES.iter().any(|(_, package, _)| *package == name);
        if ours && !may.contains(&name.as_str()) {
            let told = format!(
                "{folder} may not depend on {name}; it may on {}. The arrows are in ARCHITECTURE.md",
                if may.is_empty() { "none of our crates".to_owned() } else { may.join(", ") },
            );
            findings.push(Finding::new(path, line_of(text, &name), told));
        }
        if PURE.contains(&folder) && SOCKETS.contains(&name.as_str()) {
            let told = format!(
                "{folder} may not depend on {name}: it holds words, adapter-core holds the sockets"
            );
            findings.push(Finding::new(path, line_of(text, &name), told));
        }
    }
    if dependencies(&manifest, &["dev-dependencies"]).any(|name| name == "e2e") {
        let told = "nothing names the tests crate. Move what you need into your own tests, or the test into tests/";
        findings.push(Finding::new(path, line_of(text, "e2e"), told));
    }
    Ok(findings)
}

/// A circle, if there is one: each crate may name only crates above it in the table.
pub(crate) fn circle() -> Option<String> {
    CRATES.iter().enumerate().find_map(|(at, (_, name, may))| {
        let later = may.iter().find(|may| !CRATES[..at].iter().any(|(_, above, _)| above == *may));
        later.map(|later| format!("{name} -> {later}"))
    })
}

fn dependencies<'a>(
    manifest: &'a toml::Table,
    kinds: &'a [&str],
) -> impl Iterator<Item = String> + 'a {
    let tables = kinds.iter().filter_map(|kind| manifest.get(*kind)?.as_table());
    tables.flat_map(|table| table.keys().cloned())
}

fn line_of(text: &str, name: &str) -> usize {
    text.lines().position(|line| line.trim_start().starts_with(name)).map_or(1, |at| at + 1)
}
