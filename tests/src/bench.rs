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
    /// Whether to fetch from a real Dovecot too.
    pub real: bool,
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
    let mut relay = Box::pin(relay::measure(plan.megabytes)).await?;
    if plan.real {
        relay["dovecot"] = Box::pin(relay::measure_on_dovecot(plan.megabytes)).await?;
    }
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
    let machine = &figures["machine"];
    let load = (&machine["load_before"], &machine["load_after"]);
    let mut lines = vec![
        line("profile", figures["profile"].as_str().unwrap_or_default()),
        line(
            "machine",
            &format!("{} cores, load {} before, {} after", machine["cores"], load.0, load.1),
        ),
    ];
    lines.extend(calls_lines(&figures["calls"]));
    lines.extend(fetch_lines(&figures["imap_fetch"]));
    let build = &figures["build"];
    let built = match build {
        Value::Null => "not measured (--build)".to_owned(),
        _ => format!(
            "{:.0} s cold, {:.1} s warm",
            number(&build["cold_s"]),
            number(&build["warm_s"])
        ),
    };
    lines.push(line("build of the demo", &built));
    lines.concat()
}

fn calls_lines(calls: &Value) -> Vec<String> {
    let of = |what, seen: &Value| {
        let (p50, p99) = (number(&seen["p50_ms"]), number(&seen["p99_ms"]));
        let rate = number(&seen["per_second"]);
        line(what, &format!("{rate:>8.0} calls/s   p50 {p50:>6.2} ms   p99 {p99:>6.2} ms"))
    };
    vec![
        of("bare tonic echo, same answer", &calls["echo"]),
        of("GetAccessToken, token at hand, SQLite", &calls["get_access_token"]),
        line("  ratio", &format!("{:>8.2} of the echo's calls/s", number(&calls["ratio"]))),
    ]
}

fn fetch_lines(fetch: &Value) -> Vec<String> {
    let ways = [
        ("IMAP FETCH in clear", "plain"),
        ("IMAP FETCH in TLS on both sides", "tls"),
        ("IMAP FETCH in clear, Dovecot", "dovecot"),
    ];
    let measured = ways.into_iter().filter(|(_, key)| !fetch[*key].is_null());
    let of = |(what, key): (&str, &str)| {
        let seen = &fetch[key];
        let (direct, adapter) = (number(&seen["direct_mb_s"]), number(&seen["adapter_mb_s"]));
        let ratio = number(&seen["ratio"]);
        line(
            what,
            &format!(
                "{direct:>8.0} MB/s direct   {adapter:>6.0} MB/s through the adapter   ratio {ratio:.2}"
            ),
        )
    };
    measured.map(of).collect()
}

fn line(what: &str, figures: &str) -> String {
    format!("{what:<44}{figures}\n")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}
