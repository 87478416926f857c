//! Reading and writing the key-encryption key on a real file system.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::entropy::Entropy;

fn nothing(_: &str) -> Option<OsString> {
    None
}

fn kek() -> Kek {
    Kek::generate(&Entropy::seeded(11))
}

fn key_file() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kek");
    write_new(&kek(), &path).unwrap();
    (dir, path)
}

fn read(path: &Path) -> Result<Kek, SourceError> {
    KeySource::File(path.to_owned()).read(&nothing)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_new_key_file_is_one_line_that_only_its_owner_reads() {
    let (_dir, path) = key_file();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", kek().to_text().expose()));
    assert_eq!(read(&path).unwrap().id(), kek().id());
}

#[test]
fn an_existing_file_is_never_replaced() {
    let (dir, path) = key_file();
    let other = Kek::generate(&Entropy::seeded(12));
    assert!(matches!(write_new(&other, &path), Err(SourceError::Exists(_))));
    assert_eq!(read(&path).unwrap().id(), kek().id());
    // Not even through a link that leads nowhere yet.
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
    assert!(matches!(write_new(&other, &link), Err(SourceError::Exists(_))));
    assert!(!dir.path().join("elsewhere").exists());
}

#[test]
fn a_file_that_others_can_reach_is_refused_with_the_command_that_mends_it() {
    let (_dir, path) = key_file();
    for mode in [0o640, 0o604, 0o660, 0o644, 0o610, 0o602, 0o777] {
        chmod(&path, mode);
        let told = read(&path).unwrap_err().to_string();
        assert!(told.contains(&format!("mode 0{mode:o}")), "{told}");
        assert!(told.contains(&format!("chmod 600 {}", path.display())), "{told}");
    }
    for mode in [0o600, 0o400] {
        chmod(&path, mode);
        assert!(read(&path).is_ok());
    }
}

#[test]
fn a_file_without_a_key_is_told_what_is_wrong_and_not_quoted() {
    let (_dir, path) = key_file();
    let good = fs::read_to_string(&path).unwrap();
    for (text, why) in [
        (good[..20].to_owned(), "instead of 43"),
        (good[7..].to_owned(), "begins with tbkek1_"),
        (format!("{good}{good}"), "instead of 43"),
        ("x".repeat(10_000), "begins with tbkek1_"),
        (String::new(), "begins with tbkek1_"),
    ] {
        fs::write(&path, &text).unwrap();
        let told = read(&path).unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
        assert!(!told.contains(&good[7..27]), "{told}");
    }
    fs::write(&path, [0xff; 50]).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("base64url"));
}

#[test]
fn a_missing_file_and_a_directory_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let missing = read(&dir.path().join("kek")).unwrap_err();
    assert!(matches!(missing, SourceError::Missing(_)));
    assert!(missing.to_string().contains("token-broker init"));
    assert!(matches!(read(dir.path()), Err(SourceError::NotAFile(_))));
}

#[test]
fn a_directory_that_does_not_exist_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = write_new(&kek(), &dir.path().join("no/kek")).unwrap_err();
    assert!(matches!(error, SourceError::Unwritable { .. }));
}

#[test]
fn the_environment_is_the_one_that_was_handed_in() {
    let source = KeySource::Environment("TB_KEK".to_owned());
    let set = |name: &str| (name == "TB_KEK").then(|| kek().to_text().expose().into());
    assert_eq!(source.read(&set).unwrap().id(), kek().id());
    assert!(matches!(source.read(&nothing), Err(SourceError::Unset(name)) if name == "TB_KEK"));
    let wrong = |_: &str| Some(OsString::from("hunter2"));
    let told = source.read(&wrong).unwrap_err().to_string();
    assert!(told.starts_with("environment variable TB_KEK does not hold a key"), "{told}");
    assert!(!told.contains("hunter2"));
}

#[test]
fn a_systemd_credential_is_found_in_its_directory() {
    let (dir, path) = key_file();
    let set = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| dir.path().into());
    let source = KeySource::Systemd("kek".to_owned());
    assert_eq!(source.read(&set).unwrap().id(), kek().id());
    // systemd's ACL for the service's user shows as a group-read bit; a world-readable one is refused all the same.
    chmod(&path, 0o440);
    assert!(source.read(&set).is_ok());
    chmod(&path, 0o444);
    assert!(matches!(source.read(&set), Err(SourceError::Exposed { .. })));
    assert!(matches!(source.read(&nothing), Err(SourceError::Unset(_))));
}

#[test]
fn a_credential_name_cannot_leave_its_directory() {
    let set = |_: &str| Some(OsString::from("/run/credentials/x"));
    for name in ["", ".", "..", "../kek", "/etc/shadow", "a/b"] {
        let read = KeySource::Systemd(name.to_owned()).read(&set);
        assert!(matches!(read, Err(SourceError::Name(_))), "{name}");
    }
}
