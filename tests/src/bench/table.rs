//! The figures of a bench as lines for people. Plain text of plain data.

use serde_json::Value;

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
    lines.extend(calls(&figures["calls"]));
    for (key, engine) in [("sqlite", "SQLite"), ("postgres", "PostgreSQL")] {
        lines.extend(refreshes(&figures["refresh"][key], engine));
    }
    for (key, engine) in [("sqlite", "SQLite"), ("postgres", "PostgreSQL")] {
        lines.extend(schedule(&figures["schedule"][key], engine));
    }
    lines.extend(fetches(&figures["imap_fetch"]));
    for (key, engine) in [("sqlite", "SQLite"), ("postgres", "PostgreSQL")] {
        lines.extend(revocation(&figures["revoke"][key], engine));
        lines.extend(guessing(&figures["guess"][key], engine));
        lines.extend(keys(&figures["keys"][key], engine));
    }
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

fn calls(calls: &Value) -> Vec<String> {
    if calls.is_null() {
        return Vec::new();
    }
    let of = |what, seen: &Value| {
        let (p50, p99) = (number(&seen["p50_ms"]), number(&seen["p99_ms"]));
        let rate = number(&seen["per_second"]);
        line(what, &format!("{rate:>8.0} calls/s   p50 {p50:>6.2} ms   p99 {p99:>6.2} ms"))
    };
    let ratio =
        |key: &str, of: &str| line("  ratio", &format!("{:>8.2} of {of}", number(&calls[key])));
    let probed = &calls["overload_prober"];
    let refused = format!(
        "{:>8} refused; to one who only asks a hundred times a second {} of them, p50 {:.2} ms, p99 {:.2} ms",
        calls["overload"]["refused"],
        probed["refused"],
        number(&probed["refused_p50_ms"]),
        number(&probed["refused_p99_ms"])
    );
    let mut lines = vec![
        of("bare tonic echo, same answer", &calls["echo"]),
        of("GetAccessToken, token at hand, SQLite", &calls["get_access_token"]),
        ratio("ratio", "the echo's calls/s"),
        of("  at half of that", &calls["half_load"]),
        of("  asked by ten times as many", &calls["overload"]),
        ratio("ratio_overload", "the calls/s without overload"),
        line("  refusals", &refused),
        of("  in the relaxed mode", &calls["relaxed"]),
        ratio("ratio_relaxed", "the echo's calls/s"),
        of("OpenSession, token at hand, SQLite", &calls["open_session"]),
    ];
    if let Value::Object(postgres) = &calls["postgres"] {
        let times = format!("{:>8.2} of one broker's calls/s", number(&postgres["ratio"]));
        lines.extend([
            of("GetAccessToken, one broker on PostgreSQL", &postgres["one"]),
            of("GetAccessToken, three on one PostgreSQL", &postgres["three"]),
            line("  ratio", &times),
        ]);
    }
    lines
}

fn refreshes(seen: &Value, engine: &str) -> Vec<String> {
    if seen.is_null() {
        return Vec::new();
    }
    let of = |key: &str| number(&seen[key]);
    vec![
        line(
            "the bare provider, as many callers",
            &format!("{:>8.0} calls/s", of("bare_provider_per_second")),
        ),
        line(
            &format!("durable commits of one writer, {engine}"),
            &format!("{:>8.0} commits/s", of("commits_per_second")),
        ),
        line(
            &format!("refreshes kept up, both tokens stored, {engine}"),
            &format!(
                "{:>8.0} refreshes/s   {:.2} ms of a core each, {:.1} cores busy in all, load {}",
                of("per_second"),
                of("broker_ms_each"),
                of("machine_cores"),
                seen["load"]
            ),
        ),
        line(
            "  ratio",
            &format!(
                "{:>8.2} of the provider's calls/s, {:.2} of the commits/s",
                of("ratio_to_bare_provider"),
                of("ratio_to_commits")
            ),
        ),
    ]
}

fn schedule(seen: &Value, engine: &str) -> Vec<String> {
    let sizes = seen["sizes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |size: &Value| {
        let weight = match &size["broker"] {
            Value::Null => String::new(),
            broker => format!(
                "   broker at rest {:.0} MB, started in {:.1} s",
                number(&broker["rss_mb"]),
                number(&broker["start_s"])
            ),
        };
        let (due, gates) = (number(&size["due_us"]), number(&size["app_gates_us"]));
        line(
            &format!("{} due of {}, {engine}", seen["due"], size["accounts"]),
            &format!("{due:>8.0} us to find them, {gates:.0} us for the apps{weight}"),
        )
    };
    let mut lines: Vec<String> = sizes.iter().map(of).collect();
    if !lines.is_empty() {
        let ratio = number(&seen["ratio_due"]);
        lines.push(line("  ratio", &format!("{ratio:>8.2} of the time among the fewest")));
    }
    lines
}

fn fetches(fetch: &Value) -> Vec<String> {
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

fn revocation(seen: &Value, engine: &str) -> Vec<String> {
    if seen.is_null() {
        return Vec::new();
    }
    let of = |key: &str| number(&seen[key]);
    vec![line(
        &format!("{} sessions end after revoke, {engine}", seen["sessions"]),
        &format!(
            "p50 {:>4.0} ms   p99 {:.0} ms   p99.9 {:.0} ms   last {:.0} ms   {} told why",
            of("p50_ms"),
            of("p99_ms"),
            of("p999_ms"),
            of("max_ms"),
            seen["told"]
        ),
    )]
}

fn guessing(seen: &Value, engine: &str) -> Vec<String> {
    if seen.is_null() {
        return Vec::new();
    }
    let logins = |when: &str| {
        let (p50, p99) = (number(&seen[when]["p50_ms"]), number(&seen[when]["p99_ms"]));
        format!("{p50:>8.2} ms p50   p99 {p99:>6.2} ms")
    };
    vec![
        line(&format!("honest logins, nobody guesses, {engine}"), &logins("honest_quiet")),
        line(
            &format!("  beside {} adapters that guess", seen["adapters"]),
            &format!(
                "{}   {:.0} guesses/s, {:.2} cores of the broker, {:.1} busy in all",
                logins("honest_beside"),
                number(&seen["guesses_per_second"]),
                number(&seen["broker_cores"]),
                number(&seen["machine_cores"])
            ),
        ),
        line(
            "  ratio",
            &format!(
                "{:>8.2} of the quiet p99   {} audit records of the guesses in {} s",
                number(&seen["ratio_p99"]),
                seen["audit_records"],
                seen["seconds"]
            ),
        ),
    ]
}

fn keys(seen: &Value, engine: &str) -> Vec<String> {
    if seen.is_null() {
        return Vec::new();
    }
    let of = |key: &str| number(&seen[key]);
    let calls = |when: &str| {
        let (rate, p99) =
            (number(&seen["calls_per_second"][when]), number(&seen["calls_p99_ms"][when]));
        format!("{rate:>8.0} calls/s   p99 {p99:>6.2} ms")
    };
    vec![
        line(
            &format!("the next key-encryption key, {engine}"),
            &format!("{:>8.0} ms with {} sealed rows", of("kek_ms"), seen["rows"]),
        ),
        line(
            "  re-seal under a new term, calls going on",
            &format!(
                "{:>8.0} rows/s   {} calls failed",
                of("reseal_rows_per_second"),
                seen["failed_calls"]
            ),
        ),
        line("  calls meanwhile", &calls("during")),
        line("  calls before", &calls("quiet")),
    ]
}

fn line(what: &str, figures: &str) -> String {
    format!("{what:<52}{figures}\n")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}
