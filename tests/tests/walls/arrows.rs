//! Who may name whom: the rooms of the broker, and the words of other crates.
//!
//! Never excuses a single file where a room would do. Invariant: the table is the one of `ARCHITECTURE.md`; what is not in it
//! is forbidden, also for a room that nobody has thought of. Next: `crates`, the same between crates.

use crate::finding::Finding;
use crate::rust::{self, Named};

/// The rooms, cellar first, each with the rooms it may name. Everybody may name itself.
const ROOMS: [(&str, &[&str]); 21] = [
    ("entropy", &[]),
    ("clock", &[]),
    ("failpoint", &[]),
    ("tasks", &[]),
    ("telemetry", &["clock"]),
    ("domain", &["clock", "entropy"]),
    ("seal", &["domain", "clock", "entropy"]),
    ("spill", &["domain", "clock", "entropy"]),
    ("witness", &["domain", "clock"]),
    ("store", &["domain", "clock", "tasks", "telemetry", "failpoint"]),
    ("providers", &["domain", "clock", "entropy", "telemetry"]),
    ("memory", &["store", "providers", "seal", "domain", "clock", "tasks"]),
    (
        "service",
        &[
            "memory",
            "store",
            "providers",
            "seal",
            "spill",
            "witness",
            "domain",
            "clock",
            "entropy",
            "tasks",
            "telemetry",
            "failpoint",
        ],
    ),
    (
        "callers",
        &[
            "service",
            "providers",
            "memory",
            "store",
            "seal",
            "domain",
            "clock",
            "tasks",
            "telemetry",
        ],
    ),
    ("scheduler", &["service", "domain", "clock", "tasks", "telemetry"]),
    ("grpc", &["service", "memory", "callers", "domain", "clock", "tasks", "telemetry"]),
    ("http", &["service", "callers", "domain", "clock", "entropy", "tasks", "telemetry"]),
    // Each part owns its settings; config only fills them.
    ("config", &["domain", "seal", "store", "providers", "service", "grpc", "http", "telemetry"]),
    (
        "assemble",
        &[
            "config",
            "store",
            "providers",
            "seal",
            "spill",
            "service",
            "callers",
            "scheduler",
            "grpc",
            "http",
            "domain",
            "clock",
            "entropy",
            "tasks",
            "telemetry",
        ],
    ),
    ("init", &["assemble", "config", "service", "domain"]),
    ("main", &["assemble", "config", "init", "telemetry", "failpoint"]),
];

/// Words of other crates, and the only places that may say them: a path, or the beginning of one.
const WORDS: [(&[&str], &[&str], &str); 8] = [
    (&["sqlx"], &["broker/src/store", "tests/"], "only the store speaks SQL"),
    (
        &["reqwest", "oauth2"],
        &["broker/src/providers", "tests/"],
        "only the providers room speaks to providers: one client, with limits and deadlines",
    ),
    (
        &["tokenbroker_proto"],
        &[
            "broker/src/grpc",
            "broker/src/service/error.rs",
            "client-sdk/rust/",
            "adapter-core/testkit/",
            "brokerctl/",
            "tests/",
            "proto/",
        ],
        "the contract's words stay at the gRPC door",
    ),
    (
        &["tonic", "tonic_types", "tonic_health", "tonic_reflection", "tonic_prost"],
        &[
            "broker/src/grpc",
            "client-sdk/rust/",
            "adapter-core/testkit/",
            "brokerctl/",
            "tests/",
            "proto/",
        ],
        "gRPC stays at the gRPC door; rooms below return their own errors",
    ),
    (
        &["axum", "hyper", "hyper_util"],
        &[
            "broker/src/http",
            "broker/src/grpc",
            "broker/src/providers",
            "client-sdk/rust/",
            "adapter-core/src/ops",
            "tests/",
        ],
        "HTTP stays at the doors",
    ),
    (
        &["aes_gcm", "aes", "hkdf"],
        &["broker/src/seal", "tests/"],
        "only seal does cryptography at rest",
    ),
    (
        &["std::env::var", "std::env::var_os", "std::env::vars"],
        &[
            "broker/src/main.rs",
            "broker/src/config",
            "broker/src/assemble",
            "broker/src/init",
            "brokerctl/",
            "client-sdk/rust/",
            "adapter-core/src/settings",
            "tests/",
            "broker/src/seal/source",
        ],
        "the environment is read by the configuration alone",
    ),
    (&["e2e"], &["tests/"], "nothing names the tests"),
];

/// Places that are pure: what they may not say.
const PURE: [(&str, &[&str], &str); 3] = [
    (
        "broker/src/domain",
        &[
            "tokio",
            "tokio_util",
            "sqlx",
            "tonic",
            "axum",
            "reqwest",
            "tracing",
            "std::fs",
            "std::net::TcpStream",
        ],
        "the domain is pure: no async, no clock, no SQL, no network. Take the value as an argument",
    ),
    ("imap-adapter/src", SOCKETS, PROTOCOL_ONLY),
    ("smtp-adapter/src", SOCKETS, PROTOCOL_ONLY),
];
const SOCKETS: &[&str] = &[
    "tokio",
    "tokio_rustls",
    "rustls",
    "tonic",
    "tokenbroker_proto",
    "token_broker_client",
    "std::fs",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::os::unix::net",
    "std::thread",
];
const PROTOCOL_ONLY: &str =
    "a protocol's crate holds its words and no sockets. adapter-core drives it (Dialogue::advance)";

/// Every arrow of one file that is not in the tables.
pub(crate) fn check(path: &str, file: &syn::File) -> Vec<Finding> {
    let names = rust::names(file);
    let mut findings = words(path, &names);
    if let Some(inner) = path.strip_prefix("broker/src/") {
        findings.extend(rooms(path, inner, &names));
    }
    findings
}

/// A circle of rooms, if there is one: each room may name only rooms above it in the table.
pub(crate) fn circle() -> Option<String> {
    ROOMS.iter().enumerate().find_map(|(at, (room, may))| {
        let later = may.iter().find(|name| !ROOMS[..at].iter().any(|(room, _)| room == *name));
        later.map(|later| format!("{room} -> {later}"))
    })
}

fn rooms(path: &str, inner: &str, names: &[Named]) -> Vec<Finding> {
    let module: Vec<&str> = inner.trim_end_matches(".rs").split('/').collect();
    if module[0] == "lib" {
        return Vec::new();
    }
    let Some((room, may)) = ROOMS.iter().find(|(room, _)| *room == module[0]) else {
        let told = format!(
            "the room {} is not in the table. Say in tests/tests/walls/arrows.rs and ARCHITECTURE.md what it may name",
            module[0]
        );
        return vec![Finding::new(path, 1, told)];
    };
    let named = names.iter().filter_map(|name| Some((target(name, &module)?, name)));
    let wrong = named.filter(|(target, _)| target != room && !may.contains(&target.as_str()));
    wrong
        .filter(|(target, _)| ROOMS.iter().any(|(room, _)| room == target))
        .map(|(target, name)| {
            let told = format!(
                "{room} may not name {target} ({}); {room} may name {}. Move what both need into a room below, or take it \
                 as an argument (ARCHITECTURE.md, \"Walls\")",
                name.path.join("::"),
                if may.is_empty() { "nothing".to_owned() } else { may.join(", ") },
            );
            Finding::new(path, name.line, told)
        })
        .collect()
}

/// The room a path leads to, if it leads to one.
fn target(name: &Named, module: &[&str]) -> Option<String> {
    let words: Vec<&str> = name.path.iter().map(String::as_str).collect();
    match words[..] {
        ["crate" | "token_broker", room, ..] => Some(room.to_owned()),
        ["super", ..] => {
            let up = words.iter().take_while(|word| **word == "super").count();
            let climbed = module.len() + name.inside == up;
            climbed.then(|| words.get(up).copied().unwrap_or_default().to_owned())
        }
        _ => None,
    }
}

fn words(path: &str, names: &[Named]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in names {
        let said = name.path.join("::");
        for (words, places, why) in WORDS {
            if says(&said, words) && !places.iter().any(|place| path.starts_with(place)) {
                let told =
                    format!("{said} may not be named here: {why}. It belongs in {}", places[0]);
                findings.push(Finding::new(path, name.line, told));
            }
        }
        for (place, words, why) in PURE {
            if says(&said, words) && within(path, place) {
                let told = format!("{said} may not be named here: {why}");
                findings.push(Finding::new(path, name.line, told));
            }
        }
    }
    findings
}

/// Whether a path is one of `words` or something in it.
fn says(said: &str, words: &[&str]) -> bool {
    words.iter().any(|word| {
        said.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

fn within(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.starts_with(['/', '.']))
}
