//! What a running broker shows of itself to others on its host (threats T2 and T16).

use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::cast::ca::TestCa;
use e2e::leaks::{Marked, find};
use e2e::world::binaries::binary;
use e2e::world::{ALICE, House, Plan, World};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Nobody: who owns nothing else.
const STRANGER: u32 = 65_534;
const PATIENCE: Duration = Duration::from_secs(60);

/// Where `secret` is found in what the process shows of its start.
fn shown_at_start(process: u32, secret: &Marked) -> Result<bool> {
    let mut found = false;
    for file in ["cmdline", "environ"] {
        let place = format!("/proc/{process}/{file}");
        match std::fs::read(&place) {
            Ok(bytes) => found |= !find(std::slice::from_ref(secret), &place, &bytes).is_empty(),
            // What its own user cannot read shows nothing to anybody but root.
            Err(error) => ensure!(error.kind() == std::io::ErrorKind::PermissionDenied, "{error}"),
        }
    }
    Ok(found)
}

#[tokio::test]
async fn t2_the_key_encryption_key_is_in_no_argument_no_environment_and_no_log() -> Result<()> {
    let world = World::builder().without_adapters().log("trace").start().await?;
    world.connect(ALICE).await?;
    let text = std::fs::read_to_string(world.house.folder().join("kek"))?.trim().to_owned();
    let kek = Marked::new("the key-encryption key", &text);
    for process in world.house.process_ids() {
        ensure!(!shown_at_start(process, &kek)?, "a process was told the key when it was started");
    }
    for (name, log) in world.house.logs() {
        ensure!(log.contains(" DEBUG "), "{name} says everything");
        let leaks = find(std::slice::from_ref(&kek), &name, log.as_bytes());
        ensure!(leaks.is_empty(), "{leaks:?}");
    }
    let mut planted =
        Command::new("sleep").arg("600").env("PLANTED", &text).kill_on_drop(true).spawn()?;
    let process = planted.id().context("it ended")?;
    ensure!(shown_at_start(process, &kek)?, "where it is in the environment it is found");
    planted.kill().await?;
    world.end().await
}

#[tokio::test]
async fn t16_another_process_of_the_same_user_cannot_look_into_the_brokers_memory() -> Result<()> {
    let house =
        House::found(Plan { adapters: false, ..Plan::default() }, &TestCa::generate()?).await?;
    house.init().await?.ok()?;
    // Root may look anywhere, so both become somebody else.
    let user = (std::fs::metadata("/proc/self")?.uid() == 0).then_some(STRANGER);
    let program = house.folder().join("broker-of-a-stranger");
    std::fs::copy(binary("token-broker")?, &program)?;
    if let Some(user) = user {
        give(house.folder(), user)?;
    }
    let config = house.config();
    let mut broker = as_user(&program, user)
        .arg("serve")
        .arg("--config")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let began = Instant::now();
    while TcpStream::connect(house.doors().grpc).await.is_err() {
        let ended = broker.try_wait()?;
        ensure!(ended.is_none() && began.elapsed() < PATIENCE, "it does not serve: {ended:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut other = as_user(Path::new("sleep"), user).arg("600").spawn()?;
    for file in ["mem", "environ", "maps"] {
        ensure!(opens(&other, file, user).await?, "{file} of any other process of the user opens");
        ensure!(!opens(&broker, file, user).await?, "{file} of the broker opens");
    }
    other.kill().await?;
    broker.kill().await?;
    Ok(())
}

/// Whether a process of the user can open a file that is about another.
async fn opens(process: &Child, file: &str, user: Option<u32>) -> Result<bool> {
    let id = process.id().context("it ended")?;
    let look = as_user(Path::new("sh"), user)
        .arg("-c")
        .arg(format!(": < /proc/{id}/{file}"))
        .stderr(Stdio::null())
        .status()
        .await?;
    Ok(look.success())
}

fn as_user(program: &Path, user: Option<u32>) -> Command {
    let mut command = Command::new(program);
    command.kill_on_drop(true).stdin(Stdio::null());
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command
}

/// Gives a folder and all that is in it away.
fn give(folder: &Path, user: u32) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give(&entry.path(), user)?;
        } else {
            lchown(entry.path(), Some(user), Some(user))?;
        }
    }
    Ok(lchown(folder, Some(user), Some(user))?)
}
