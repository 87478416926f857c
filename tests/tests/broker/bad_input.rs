//! What comes in wrong is refused in bounded memory, with words that say what to do.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cast::ca::TestCa;
use e2e::world::binaries::binary;
use e2e::world::command::{Program, Run};
use e2e::world::{ALICE, House, Plan, World};
use token_broker_client::v1;

/// How much more memory an adapter may hold after an attack than before, in KiB.
const GROWTH_KIB: u64 = 16 * 1024;

async fn check_config(folder: &Path, text: &str) -> Result<Run> {
    let file = folder.join("token-broker.toml");
    std::fs::write(&file, text)?;
    Program::new(binary("token-broker")?).args(["check-config", "--config"]).arg(file).run().await
}

#[tokio::test]
async fn a_wrong_configuration_names_file_line_field_and_remedy() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let least = "[store]\nsqlite = \"broker.db\"\n[keys]\nkek = { file = \"kek\" }\n";
    let wrong = [
        ("[grpc]\nadress = \"127.0.0.1:1\"\n", [":6", "adress", "address"]),
        ("[grpc]\naddress = \"here\"\n", [":6", "grpc.address", "127.0.0.1:8640"]),
        ("[grpc]\naddress = \"0.0.0.0:1\"\n", [":6", "grpc.address", "tls"]),
        ("[http]\npublic_url = \"http://example.com\"\n", [":6", "http.public_url", "https"]),
        ("drain_seconds = = 3\n", [":5", "token-broker.toml", ""]),
    ];
    for (lines, told) in wrong {
        let run = check_config(folder.path(), &format!("{least}{lines}")).await?;
        assert!(run.code.is_some_and(|code| code != 0), "{run}");
        for word in told {
            assert!(run.stderr.contains(word), "{word} is missing: {run}");
        }
        assert!(
            run.stderr.contains("token-broker.toml") && !run.stderr.contains("panicked"),
            "{run}"
        );
    }
    let run = check_config(&folder.path().join("nowhere"), least).await;
    assert!(run.is_err(), "there is no such folder");
    Ok(())
}

#[tokio::test]
async fn a_broker_without_its_key_does_not_start_and_says_what_to_do() -> Result<()> {
    let mut house = house().await?;
    let kek = house.folder().join("kek");
    std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o644))?;
    let said = refused_start(&house).await?;
    assert!(said.contains("kek") && said.contains("chmod 600"), "{said}");
    let kept = std::fs::read(&kek)?;
    std::fs::remove_file(&kek)?;
    let said = refused_start(&house).await?;
    assert!(said.contains("kek") && said.contains("token-broker init"), "{said}");
    let other: Vec<u8> = kept.iter().rev().copied().collect();
    write_key(&kek, &other)?;
    refused_start(&house).await?;
    write_key(&kek, &kept)?;
    house.open().await?;
    house.stop().await
}

#[tokio::test]
async fn a_port_in_use_is_named() -> Result<()> {
    let mut house = house().await?;
    let taken = house.doors().grpc;
    let holder = TcpListener::bind(taken)?;
    let said = refused_start(&house).await?;
    assert!(said.contains(&taken.to_string()) && said.contains("in use"), "{said}");
    drop(holder);
    house.open().await?;
    house.stop().await
}

#[tokio::test]
async fn a_second_broker_on_the_same_file_stops_and_the_first_goes_on() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let mine = world.house.doors().grpc.port().to_string();
    let config = std::fs::read_to_string(world.house.config())?;
    let elsewhere = world.house.folder().join("second.toml");
    let ports = [mine, world.house.doors().admin.port().to_string()];
    let moved = ports.iter().try_fold(config, |text, port| {
        anyhow::Ok(text.replace(port.as_str(), &e2e::world::ports::free()?.port().to_string()))
    })?;
    std::fs::write(&elsewhere, moved)?;
    let run = Program::new(binary("token-broker")?).args(["serve", "--config"]).arg(elsewhere);
    let run = run.run().await?;
    assert!(run.code.is_some_and(|code| code != 0), "{run}");
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(said.contains("broker.db") && said.contains("another"), "{said}");
    let service = world.service("crm").await?;
    assert!(service.access_token(ALICE).await.is_ok());
    world.end().await
}

#[tokio::test]
async fn init_does_not_overwrite_what_is_there() -> Result<()> {
    let house = house().await?;
    let kek = std::fs::read(house.folder().join("kek"))?;
    let key = std::fs::read(house.folder().join("admin.key"))?;
    let again = house.init().await?.ok()?;
    assert!(again.stdout.contains("nothing was changed"), "{again}");
    assert_eq!(std::fs::read(house.folder().join("kek"))?, kek);
    assert_eq!(std::fs::read(house.folder().join("admin.key"))?, key);
    for file in ["kek", "admin.key"] {
        assert!(e2e::world::clients::is_private(&house.folder().join(file)), "{file}");
    }
    Ok(())
}

#[tokio::test]
async fn init_beside_a_key_of_another_store_loses_neither() -> Result<()> {
    let plan = Plan { adapters: false, ..Plan::default() };
    let house = House::found(plan, &TestCa::generate()?).await?;
    write_key(&house.folder().join("admin.key"), b"an old one")?;
    let made = house.init().await?.ok()?;
    assert!(made.stdout.contains("admin-2.key"), "{made}");
    assert_eq!(std::fs::read(house.folder().join("admin.key"))?, b"an old one");
    assert!(std::fs::read_to_string(house.folder().join("admin-2.key"))?.starts_with("tbk_"));
    Ok(())
}

#[tokio::test]
async fn endpoints_of_ones_own_are_for_the_custom_preset() -> Result<()> {
    let world = World::builder().without_adapters().without_app().start().await?;
    let token = "https://elsewhere.example/token".to_owned();
    let endpoints = Some(v1::AppEndpoints { token, ..Default::default() });
    let google = v1::App { preset: "google".to_owned(), endpoints, ..Default::default() };
    let refused = world.register("odd", google).await.err().context("taken")?.to_string();
    assert!(refused.contains("endpoints"), "{refused}");
    let none = v1::ClientAuthMethod::None.into();
    let public = v1::App { client_auth_method: none, ..Default::default() };
    let refused = world.register("odd", public).await.err().context("taken")?.to_string();
    assert!(refused.contains("client_secret"), "{refused}");
    world.end().await
}

#[tokio::test]
async fn an_unknown_preset_lists_the_known_ones() -> Result<()> {
    let world = World::builder().without_adapters().without_app().start().await?;
    let create = ["app", "create", "x", "--preset", "gogle", "--client-id", "x"];
    let run = world.operator.tool(&create).env("TOKEN_BROKER_CLIENT_SECRET", "x").run().await?;
    assert_ne!(run.code, Some(0), "{run}");
    for known in ["google", "microsoft", "generic-oidc", "custom"] {
        assert!(run.stderr.contains(known), "{run}");
    }
    world.end().await
}

#[tokio::test]
async fn t30_no_flood_before_login_takes_memory_or_the_next_clients_place() -> Result<()> {
    let world = World::start().await?;
    let client = world.client(ALICE).await?;
    client.curl_imap("").await?.ok()?;
    let before = memory_kib(&world)?;
    let megabyte = "x".repeat(1024 * 1024);
    let floods: Vec<(&str, Vec<u8>)> = vec![
        ("imap", megabyte.clone().into_bytes()),
        ("imap", format!("a LOGIN {megabyte} y\r\n").into_bytes()),
        ("imap", b"a LOGIN {99999999}\r\n".to_vec()),
        ("imap", format!("a LOGIN {{1000000+}}\r\n{megabyte}").into_bytes()),
        ("imap", format!("a AUTHENTICATE PLAIN {megabyte}\r\n").into_bytes()),
        ("imap", b"a LOGIN \0 \0\r\n".to_vec()),
        ("imap", b"a NOOP\r\n".repeat(1000)),
        ("smtp", megabyte.clone().into_bytes()),
        ("smtp", format!("EHLO {megabyte}\r\n").into_bytes()),
        ("smtp", format!("AUTH PLAIN {megabyte}\r\n").into_bytes()),
        ("smtp", b"EHLO \0\r\nAUTH PLAIN \0\r\n".to_vec()),
        ("smtp", b"NOOP\r\n".repeat(1000)),
    ];
    for _ in 0..4 {
        for (protocol, bytes) in &floods {
            let mut speaker = world.speak(protocol).await?.patient(Duration::from_secs(5));
            // The adapter may close in the middle of it: that is the point.
            drop(speaker.send_bytes(bytes).await);
            drop(speaker.line().await);
        }
    }
    let grown = memory_kib(&world)?.saturating_sub(before);
    assert!(grown < GROWTH_KIB, "{grown} KiB more than before");
    client.curl_imap("").await?.ok()?;
    world.end().await
}

#[tokio::test]
async fn a_password_in_clear_is_refused_where_starttls_is_offered_to_strangers() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let folder = world.house.folder();
    std::fs::write(
        folder.join("wrong.toml"),
        "[[listener]]\naddress = \"0.0.0.0:1\"\ntls = \"plain\"\n[broker]\n\
         endpoints = [\"http://127.0.0.1:1\"]\nkey_file = \"admin.key\"\n",
    )?;
    for adapter in ["imap-adapter", "smtp-adapter"] {
        let run = Program::new(binary(adapter)?).arg("--config").arg(folder.join("wrong.toml"));
        let run = run.run().await?;
        assert_eq!(run.code, Some(1), "{run}");
        assert!(run.stderr.contains("wrong.toml:3") && run.stderr.contains("passwords"), "{run}");
    }
    world.end().await
}

/// A house that is initialised but not open.
async fn house() -> Result<House> {
    let plan = Plan { adapters: false, ..Plan::default() };
    let house = House::found(plan, &TestCa::generate()?).await?;
    house.init().await?.ok()?;
    Ok(house)
}

/// Tries to serve; what the broker says when it gives up.
async fn refused_start(house: &House) -> Result<String> {
    let before = std::fs::read_to_string(house.folder().join("broker.log")).unwrap_or_default();
    let mut broker = house.serve()?;
    let status = broker.wait(Duration::from_secs(30)).await?;
    assert!(!status.success(), "{status}");
    let log = broker.log();
    let said = log.get(before.len()..).unwrap_or_default().to_owned();
    assert!(!log.contains("panicked"), "{log}");
    Ok(said)
}

fn write_key(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}

/// What both adapters hold, as the kernel counts it.
fn memory_kib(world: &World) -> Result<u64> {
    let mut sum = 0;
    for id in world.house.process_ids() {
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib = line.trim().trim_end_matches(" kB").parse::<u64>()?;
        sum += kib;
    }
    Ok(sum)
}
