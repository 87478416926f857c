//! Megabytes a second: a large mailbox fetched from the mail server itself, then through the adapter.
//!
//! Once in clear on all ways, once in TLS on all ways, by the same client; on demand also before a real Dovecot.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use token_broker_client::v1;

use crate::cast::mailbox::sasl;
use crate::cast::mailbox::settings::Mechanism;
use crate::cast::speaker::Speaker;
use crate::world::real::{APP, Real};
use crate::world::{ALICE, Engine, World};

const MAIL: usize = 64 * 1024;
/// The best of so many runs stands: noise only ever slows down.
const RUNS: usize = 3;

/// Measures with so many megabytes in the mailbox.
pub(super) async fn measure(megabytes: usize) -> Result<Value> {
    let plain = Box::pin(over(megabytes, false)).await?;
    let tls = Box::pin(over(megabytes, true)).await?;
    Ok(json!({ "megabytes": megabytes, "mail_bytes": MAIL, "plain": plain, "tls": tls }))
}

async fn over(megabytes: usize, tls: bool) -> Result<Value> {
    let world = World::builder().without_app().start().await?;
    let (port, mode) = if tls {
        (world.mailbox.addresses().imaps.port(), v1::TlsMode::Implicit)
    } else {
        (world.mailbox.addresses().imap.port(), v1::TlsMode::PlainLoopback)
    };
    let host = v1::MailHost {
        protocol: v1::MailProtocol::Imap.into(),
        host: "localhost".to_owned(),
        port: port.into(),
        tls: mode.into(),
    };
    let app = v1::App { mail_hosts: vec![host], ..Default::default() };
    world.register(crate::world::APP, app).await?;
    let account = world.connect(ALICE).await?;
    let mail = format!("Subject: large\r\n\r\n{}\r\n", "x".repeat(MAIL));
    for _ in 0..megabytes * 1_000_000 / MAIL {
        world.mailbox.deliver(ALICE, &mail)?;
    }
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    let token = world.provider.issue(ALICE, "mail").access.token;
    let response = sasl::response(Mechanism::Xoauth2, ALICE, &token);
    let (mut direct, mut adapter) = (0.0_f64, 0.0_f64);
    for _ in 0..RUNS {
        let addresses = world.mailbox.addresses();
        let login = format!("a AUTHENTICATE XOAUTH2 {response}");
        let speaker = match tls {
            true => Speaker::connect_tls(addresses.imaps, &world.ca).await?,
            false => Speaker::connect(addresses.imap).await?,
        };
        direct = direct.max(fetch(speaker, &login).await?);
        let doors = world.house.adapter("imap").context("no adapter")?;
        let login = format!("a LOGIN {ALICE} {password}");
        let speaker = match tls {
            true => Speaker::connect_tls(doors.tls, &world.ca).await?,
            false => Speaker::connect(doors.plain).await?,
        };
        adapter = adapter.max(fetch(speaker, &login).await?);
    }
    world.end().await?;
    Ok(json!({ "direct_mb_s": direct, "adapter_mb_s": adapter, "ratio": adapter / direct }))
}

/// Measures on Dovecot instead, in clear on all ways. Null if it is not installed.
pub(super) async fn measure_on_dovecot(megabytes: usize) -> Result<Value> {
    let Some(real) = Box::pin(Real::start(Engine::Sqlite, &[])).await? else {
        return Ok(Value::Null);
    };
    let imap = real.stack.endpoint("IMAP")?.to_owned();
    let host = format!("imap+plain://{imap}");
    real.operator.ctl(&["app", "update", APP, "--mail-host", &host]).await?;
    let count = u32::try_from(megabytes * 1_000_000 / MAIL)?;
    real.stack.seed(ALICE, count, u32::try_from(MAIL)?).await?;
    real.connect(ALICE).await?;
    let made = real.operator.ctl(&["credential", "create", ALICE]).await?;
    let password = made["secret"].as_str().context("no password")?.to_owned();
    let response = sasl::response(Mechanism::Xoauth2, ALICE, &real.token(ALICE).await?);
    let port = imap.rsplit(':').next().context("no port")?.parse::<u16>()?;
    let dovecot = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (mut direct, mut adapter) = (0.0_f64, 0.0_f64);
    for _ in 0..RUNS {
        let speaker = Speaker::connect(dovecot).await?;
        let login = format!("a AUTHENTICATE XOAUTH2 {response}");
        direct = direct.max(fetch(speaker, &login).await?);
        let speaker = Speaker::connect(real.house.adapter("imap")?.plain).await?;
        adapter = adapter.max(fetch(speaker, &format!("a LOGIN {ALICE} {password}")).await?);
    }
    real.end().await?;
    Ok(json!({ "direct_mb_s": direct, "adapter_mb_s": adapter, "ratio": adapter / direct }))
}

/// Logs in and fetches everything; megabytes a second of the fetch alone.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
async fn fetch(mut speaker: Speaker, login: &str) -> Result<f64> {
    speaker.expect("* OK").await?;
    speaker.send(login).await?;
    speaker.completed("a").await?;
    speaker.send("b SELECT INBOX").await?;
    speaker.until("b OK").await?;
    let began = Instant::now();
    speaker.send("c FETCH 1:* BODY.PEEK[]").await?;
    let bytes = speaker.swallow("c OK").await?;
    Ok(bytes as f64 / 1e6 / began.elapsed().as_secs_f64())
}
