//! Measures the product against what the machine can do without it, in one run.
//!
//! Absolute numbers mean little on a shared machine: each figure stands beside its baseline, taken minutes apart with the same
//! load generator, and the load of the machine is printed too. Nothing is asserted. Next: [`calls`], [`relay`], [`build`].

mod build;
mod calls;
mod machine;
mod relay;

use anyhow::Result;
use serde_json::{Value, json};

pub use calls::serve_echo;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Seconds of each measurement of calls.
    pub seconds: u64,
    /// Megabytes in the mailbox that is fetched.
    pub megabytes: usize,
    /// Whether to build the workspace, cold and warm; takes minutes.
    pub build: bool,
}

/// Measures; one object with all figures.
///
/// # Errors
/// Something does not come up.
pub async fn measure(plan: Plan) -> Result<Value> {
    let before = machine::load();
    let calls = Box::pin(calls::measure(plan.seconds)).await?;
    let relay = Box::pin(relay::measure(plan.megabytes)).await?;
    let build = if plan.build { build::measure().await? } else { Value::Null };
    Ok(json!({
        "machine": { "cores": machine::cores(), "load_before": before, "load_after": machine::load() },
        "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
        "calls": calls,
        "imap_fetch": relay,
        "build": build,
    }))
}

/// The figures for people.
pub fn table(figures: &Value) -> String {
    let mut text = String::new();
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let mut line = |what: &str, figures: String| text.push_str(&format!("{what:<44}{figures}\n"));
    line("profile", figures["profile"].as_str().unwrap_or_default().to_owned());
    let machine = &figures["machine"];
    line(
        "machine",
        format!(
            "{} cores, load {} before, {} after",
            machine["cores"], machine["load_before"], machine["load_after"]
        ),
    );
    for (name, key) in [
        ("bare tonic echo, same answer", "echo"),
        ("GetAccessToken, token at hand, SQLite", "get_access_token"),
    ] {
        let seen = &figures["calls"][key];
        line(
            name,
            format!(
                "{:>8.0} calls/s   p50 {:>6.2} ms   p99 {:>6.2} ms",
                number(&seen["per_second"]),
                number(&seen["p50_ms"]),
                number(&seen["p99_ms"])
            ),
        );
    }
    line("  ratio", format!("{:>8.2} of the echo's calls/s", number(&figures["calls"]["ratio"])));
    for (name, key) in
        [("IMAP FETCH in clear", "plain"), ("IMAP FETCH in TLS on both sides", "tls")]
    {
        let seen = &figures["imap_fetch"][key];
        line(
            name,
            format!(
                "{:>8.0} MB/s direct   {:>6.0} MB/s through the adapter   ratio {:.2}",
                number(&seen["direct_mb_s"]),
                number(&seen["adapter_mb_s"]),
                number(&seen["ratio"])
            ),
        );
    }
    match &figures["build"] {
        Value::Null => line("build of the demo", "not measured (--build)".to_owned()),
        build => line(
            "build of the demo",
            format!(
                "{:.0} s cold, {:.1} s warm",
                number(&build["cold_s"]),
                number(&build["warm_s"])
            ),
        ),
    }
    text
}
