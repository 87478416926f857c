//! The walls: who may name whom, how long things may be, what no file may hold.
//!
//! Reads the repository as text and never runs anything of it. Invariant: a finding names file and line and says what to do; a
//! rule is loosened by a change of its table here, in sight of a reviewer, and nowhere else. Next: `arrows` for the rooms of
//! the broker and the words of other crates, `crates` for the arrows between crates, `shape` for lengths, `text` for the rest.

mod arrows;
mod crates;
mod finding;
mod repository;
mod rust;
mod shape;
mod text;

use anyhow::Result;
use finding::Finding;
use repository::Repository;

/// A file that breaks no wall.
const GOOD: &str = "//! Opens with a sentence.\n\n/// Does nothing.\npub fn nothing() {}\n";

fn arrows_of(path: &str, text: &str) -> Result<Vec<Finding>> {
    Ok(arrows::check(path, &syn::parse_file(text)?))
}

fn shape_of(text: &str) -> Result<Vec<Finding>> {
    Ok(shape::check("broker/src/x.rs", text, &syn::parse_file(text)?, false))
}

#[test]
fn this_repository_keeps_its_walls() -> Result<()> {
    let repository = Repository::here()?;
    let findings = repository.findings();
    let told: Vec<_> = findings.iter().map(Finding::to_string).collect();
    assert!(told.is_empty(), "{} broken walls:\n\n{}\n", told.len(), told.join("\n"));
    Ok(())
}

#[test]
fn the_rooms_of_the_broker_form_no_circle() {
    assert_eq!(arrows::circle(), None);
}

#[test]
fn the_crates_form_no_circle() {
    assert_eq!(crates::circle(), None);
}

/// Every case is a file that must be found wrong, and a piece of what must be said about it.
#[test]
fn a_forbidden_name_is_found_wherever_it_stands() -> Result<()> {
    let cases = [
        ("broker/src/domain/x.rs", "use crate::store::Store;", "domain may not name store"),
        ("broker/src/store/x.rs", "use crate::{domain::ids, grpc::status};", "may not name grpc"),
        ("broker/src/seal/x.rs", "use super::super::store as s;", "seal may not name store"),
        ("broker/src/seal.rs", "use super::service::Error;", "seal may not name service"),
        ("broker/src/providers/x.rs", "fn f() { crate::service::go(); }", "may not name service"),
        ("broker/src/providers/x.rs", "type T = Vec<crate::http::Page>;", "may not name http"),
        (
            "broker/src/store/x.rs",
            "fn f() { tokio::select! { x = crate::seal::a() => x } }",
            "seal",
        ),
        ("broker/src/domain/x.rs", "/// See [`crate::service::Error`].\nfn f() {}", "service"),
        ("broker/src/service/x.rs", "fn f() { sqlx::query(\"select 1\"); }", "sqlx"),
        ("broker/src/service/x.rs", "use tonic::Status;", "tonic"),
        ("broker/src/service/x.rs", "use tokenbroker_proto::v1;", "tokenbroker_proto"),
        ("broker/src/grpc/x.rs", "use reqwest::Client;", "reqwest"),
        ("broker/src/domain/x.rs", "async fn f() { tokio::task::yield_now().await }", "tokio"),
        ("broker/src/main.rs", "use token_broker::store::Store;", "main may not name store"),
        ("broker/src/attic/x.rs", "fn f() {}", "not in the table"),
        ("imap-adapter/src/x.rs", "use std::net::TcpStream;", "std::net"),
        ("smtp-adapter/src/x.rs", "fn f() { tokio::net::TcpStream::connect(1); }", "tokio"),
        ("brokerctl/src/x.rs", "use e2e::World;", "e2e"),
    ];
    for (path, line, told) in cases {
        let findings = arrows_of(path, &format!("//! Doc.\n{line}\n"))?;
        let said: Vec<_> = findings.iter().map(Finding::to_string).collect();
        assert!(said.iter().any(|said| said.contains(told)), "{path}: {line}: {said:?}");
        assert!(said.iter().all(|said| said.starts_with(path)), "{said:?}");
    }
    Ok(())
}

#[test]
fn what_is_allowed_is_not_found() -> Result<()> {
    let cases = [
        (
            "broker/src/store/x.rs",
            "use crate::domain::ids::AppId; use sqlx::Row; use super::Store;",
        ),
        ("broker/src/service/x.rs", "use crate::{clock::Time, store::Store}; use super::Error;"),
        ("broker/src/service/error.rs", "use tokenbroker_proto::v1::ErrorReason;"),
        ("broker/src/domain/x.rs", "#[cfg(test)] mod tests { use crate::store::Store; }"),
        ("broker/src/assemble.rs", "use crate::{grpc, http, store}; use std::net::TcpListener;"),
        ("imap-adapter/src/x.rs", "use adapter_core::Dialogue; use std::net::IpAddr;"),
        ("broker/src/domain/x.rs", "fn f(store: u8, sqlx: u8) { let _ = (store, sqlx); }"),
    ];
    for (path, line) in cases {
        let findings = arrows_of(path, &format!("//! Doc.\n{line}\n"))?;
        assert!(findings.is_empty(), "{path}: {line}: {}", findings[0]);
    }
    Ok(())
}

#[test]
fn a_finding_names_file_line_and_remedy() -> Result<()> {
    let findings = arrows_of("broker/src/domain/x.rs", "//! D.\n\nuse crate::store::Store;\n")?;
    let said = findings[0].to_string();
    assert!(said.starts_with("broker/src/domain/x.rs:3: "), "{said}");
    assert!(said.contains("domain may name clock, entropy") && said.contains("Move"), "{said}");
    Ok(())
}

#[test]
fn what_is_too_long_or_too_deep_is_found() -> Result<()> {
    let long_file = format!("//! D.\n{}", "// x\n".repeat(shape::FILE_LINES));
    let long_function = format!("//! D.\nfn f() {{\n{}}}\n", "\n".repeat(shape::FUNCTION_LINES));
    let deep = "//! D.\nfn f() { if a { for b in c { match d { _ => loop { while e { if g {} } } } } } }\n";
    let chain = "//! D.\nfn f() { if a {} else if b {} else if c {} else if d {} else if e {} else if g {} }\n";
    let tests = format!("{GOOD}#[cfg(test)]\nmod tests {{\n{}}}\n", "// x\n".repeat(600));
    for (text, told) in [
        (long_file.as_str(), "lines"),
        (long_function.as_str(), "f() has"),
        (deep, "deep"),
        ("fn f() {}\n", "//!"),
    ] {
        let said: Vec<_> = shape_of(text)?.iter().map(Finding::to_string).collect();
        assert!(said.len() == 1 && said[0].contains(told), "{said:?}");
    }
    for fine in [chain, GOOD, tests.as_str()] {
        assert!(shape_of(fine)?.is_empty(), "{fine}");
    }
    Ok(())
}

#[test]
fn words_that_no_file_may_hold_are_found() {
    let cases = [
        ("a.rs", ["//! D.\nun", "safe fn f() {}\n"].concat(), "unsafe"),
        ("a.rs", ["//! D.\n#[al", "low(dead_code)]\nfn f() {}\n"].concat(), "expect"),
        ("a.rs", ["//! D.\n#![cfg_attr(test, al", "low(dead_code))]\n"].concat(), "expect"),
        ("a.sh", ["# TO", "DO: later\n"].concat(), "issue"),
        ("a.md", ["FIX", "ME\n"].concat(), "issue"),
        ("a.toml", ["path = \"/ho", "me/ann/x\"\n"].concat(), "machine"),
        ("package-lock.json", ["  \"reso", "lved\": \"https://x\"\n"].concat(), "host"),
    ];
    for (path, text, told) in cases {
        let said: Vec<_> = text::check(path, &text).iter().map(Finding::to_string).collect();
        assert!(said.iter().any(|said| said.contains(told)), "{path}: {text}: {said:?}");
    }
    let innocent =
        "//! D.\n// It is not unsafe to allow(this) in a comment.\nconst A: &str = \"unsafe\";\n";
    assert!(text::check("a.rs", innocent).is_empty());
}

#[test]
fn a_crate_that_names_the_wrong_crate_is_found() -> Result<()> {
    let manifest =
        |tail: &str| format!("[package]\nname = \"x\"\n[lints]\nworkspace = true\n{tail}");
    let cases = [
        ("broker/Cargo.toml", "[dependencies]\nadapter-core.workspace = true\n", "adapter-core"),
        ("brokerctl/Cargo.toml", "[dev-dependencies]\ne2e = { path = \"../tests\" }\n", "tests"),
        ("imap-adapter/Cargo.toml", "[dependencies]\ntokio.workspace = true\n", "tokio"),
        ("attic/Cargo.toml", "", "not in the table"),
    ];
    for (path, tail, told) in cases {
        let said: Vec<_> =
            crates::check(path, &manifest(tail))?.iter().map(Finding::to_string).collect();
        assert!(said.iter().any(|said| said.contains(told)), "{path}: {said:?}");
    }
    let no_lints = crates::check("brokerctl/Cargo.toml", "[package]\nname = \"brokerctl\"\n")?;
    assert!(no_lints[0].to_string().contains("lints"), "{}", no_lints[0]);
    Ok(())
}

/// The whole way, from files on disk: a good repository passes, and each of these spoils it.
#[test]
fn a_copy_that_was_spoiled_is_found_out() -> Result<()> {
    let copy = tempfile::tempdir()?;
    let write = |path: &str, text: &str| -> Result<()> {
        let path = copy.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(copy.path()))?;
        Ok(std::fs::write(path, text)?)
    };
    let said = || -> Result<Vec<String>> {
        Ok(Repository::at(copy.path())?.findings().iter().map(Finding::to_string).collect())
    };
    write("broker/src/domain.rs", GOOD)?;
    write("broker/src/store/tests.rs", "//! D.\nuse crate::service::Error;\nmod more;\n")?;
    write("broker/src/store/tests/more.rs", "//! D.\nuse crate::grpc::status;\n")?;
    write("broker/src/store.rs", "//! D.\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod rogue;\n")?;
    write("broker/src/store/rogue.rs", "//! D.\n#[path = \"beside.rs\"]\nmod beside;\n")?;
    write("broker/src/store/beside.rs", "//! D.\nuse crate::service::Error;\n")?;
    write("migrations/sqlite/0001_a.sql", "")?;
    write("migrations/postgres/0001_a.sql", "")?;
    assert_eq!(said()?, Vec::<String>::new());

    write("migrations/sqlite/0002_b.sql", "")?;
    assert!(said()?[0].contains("migrations/postgres/0002_b.sql"), "{:?}", said()?);
    write("migrations/postgres/0002_b.sql", "")?;
    write("broker/src/domain/x.rs", "//! D.\nuse crate::store::Store;\n")?;
    assert!(said()?[0].contains("domain may not name store"), "{:?}", said()?);
    write("broker/src/domain/x.rs", "//! D.\nthis is no Rust\n")?;
    assert!(said()?[0].contains("cannot be read"), "{:?}", said()?);
    Ok(())
}
