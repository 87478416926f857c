//! The words of an IMAP login (RFC 9051; initial response RFC 4959; response codes RFC 5530).
//!
//! Never selects a mailbox. Invariant: `AUTHENTICATE` ends with the server's tagged answer, so a failure challenge is
//! answered before the no that follows it is read.

use crate::domain::provider::InitialResponse;
use zeroize::Zeroizing;

use super::lines::Lines;
use super::{Failed, Login, sasl};
use crate::domain::mail::SaslMechanism;

/// Longest `AUTHENTICATE` line with an initial response: servers take 8192 bytes, some of them no more.
const LONGEST_INLINE: usize = 8_000;

/// Reads the greeting.
pub(super) async fn greeting(lines: &mut Lines) -> Result<(), Failed> {
    match lines.next().await?.get(..5) {
        Some(start) if start.eq_ignore_ascii_case("* OK ") => Ok(()),
        _ => Err(Failed::Unreachable("not an IMAP greeting")),
    }
}

/// Asks for TLS; the server's `OK` is the last thing to be read in clear.
pub(super) async fn ask_for_tls(lines: &mut Lines) -> Result<(), Failed> {
    lines.say("s1 STARTTLS").await?;
    match ask_end(lines, "s1", |_| ()).await? {
        Ended::Ok => Ok(()),
        Ended::No(_) | Ended::Bad => Err(Failed::Unreachable("no STARTTLS")),
    }
}

/// Logs in, asks once more where `OK` proves nothing, and leaves.
pub(super) async fn log_in(lines: &mut Lines, login: &Login<'_>) -> Result<(), Failed> {
    let offered = capabilities(lines).await?;
    let offers = |wanted: &str| offered.iter().any(|word| word.eq_ignore_ascii_case(wanted));
    let mechanism = login.mechanism(|name| offers(&format!("AUTH={name}")))?;
    let inline =
        login.server.initial_response == InitialResponse::IfAdvertised && offers("SASL-IR");
    match authenticate(lines, login, mechanism, inline).await? {
        Ended::Ok => {}
        Ended::No(code) if is_refusal(&code) => return Err(Failed::Refused),
        Ended::No(_) => return Err(Failed::Unreachable("the server cannot log in just now")),
        Ended::Bad => return Err(Failed::Unreachable("the server did not understand the login")),
    }
    if login.server.probe_after_login {
        lines.say("p1 NOOP").await?;
        if !matches!(ask_end(lines, "p1", |_| ()).await?, Ended::Ok) {
            return Err(Failed::Refused);
        }
    }
    // What was proven stays proven, however the server takes the good-bye.
    let _ = lines.say("l1 LOGOUT").await;
    Ok(())
}

/// How a command ended.
enum Ended {
    Ok,
    /// With the response code in upper case, empty if there was none.
    No(String),
    Bad,
}

async fn capabilities(lines: &mut Lines) -> Result<Vec<String>, Failed> {
    let mut offered = Vec::new();
    lines.say("c1 CAPABILITY").await?;
    let ended = ask_end(lines, "c1", |untagged| {
        let mut words = untagged.split_ascii_whitespace();
        if words.next().is_some_and(|first| first.eq_ignore_ascii_case("CAPABILITY")) {
            offered.extend(words.map(str::to_owned));
        }
    })
    .await?;
    match ended {
        Ended::Ok => Ok(offered),
        Ended::No(_) | Ended::Bad => Err(Failed::Unreachable("no capabilities")),
    }
}

async fn authenticate(
    lines: &mut Lines,
    login: &Login<'_>,
    mechanism: SaslMechanism,
    inline: bool,
) -> Result<Ended, Failed> {
    let response = login.response(mechanism);
    let command = format!("a1 AUTHENTICATE {}", mechanism.as_str());
    let mut unsaid = Some(&response);
    if inline && command.len() + 1 + response.len() <= LONGEST_INLINE {
        lines.say(&Zeroizing::new(format!("{command} {}", response.expose()))).await?;
        unsaid = None;
    } else {
        lines.say(&command).await?;
    }
    let mut told_why = false;
    loop {
        let line = lines.next().await?;
        if !line.starts_with('+') {
            match read(&line, "a1")? {
                Some(ended) => return Ok(ended),
                None => continue,
            }
        }
        match unsaid.take() {
            Some(response) => lines.say(response.expose()).await?,
            None if told_why => return Err(Failed::Unreachable("one challenge too many")),
            None => {
                told_why = true;
                lines.say(sasl::after_failure(mechanism)).await?;
            }
        }
    }
}

/// Reads to the end of the command `tag`, handing over the untagged answers without their star.
async fn ask_end(
    lines: &mut Lines,
    tag: &str,
    mut untagged: impl FnMut(&str),
) -> Result<Ended, Failed> {
    loop {
        let line = lines.next().await?;
        if let Some(ended) = read(&line, tag)? {
            return Ok(ended);
        }
        untagged(line.trim_start_matches("* "));
    }
}

/// The end of the command `tag`, or nothing if the line is an untagged answer.
fn read(line: &str, tag: &str) -> Result<Option<Ended>, Failed> {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (word, words) = rest.split_once(' ').unwrap_or((rest, ""));
    match (first, word.to_ascii_uppercase().as_str()) {
        ("*", "BYE") => Err(Failed::Unreachable("the server said good-bye")),
        ("*", _) => Ok(None),
        (first, "OK") if first == tag => Ok(Some(Ended::Ok)),
        (first, "NO") if first == tag => Ok(Some(Ended::No(response_code(words)))),
        (first, "BAD") if first == tag => Ok(Some(Ended::Bad)),
        _ => Err(Failed::Unreachable("not an IMAP answer")),
    }
}

fn response_code(words: &str) -> String {
    let code = words.strip_prefix('[').and_then(|rest| rest.split([']', ' ']).next());
    code.unwrap_or_default().to_ascii_uppercase()
}

/// Whether a `NO` with this response code speaks about user and token; others (`UNAVAILABLE`, `LIMIT`, and `ALERT`, which
/// Google also uses for too many connections) may pass by themselves.
fn is_refusal(code: &str) -> bool {
    matches!(code, "" | "AUTHENTICATIONFAILED" | "AUTHORIZATIONFAILED" | "EXPIRED")
}
