//! The words of a login for mail submission (RFC 5321, RFC 4954).
//!
//! Never begins a mail. Invariant: the token goes after `334`, never on the command line, which may not hold it.

use super::lines::Lines;
use super::{Failed, Login, sasl};

/// Longest base64 line that servers must take (RFC 4954 section 4), in bytes.
const LONGEST_RESPONSE: usize = 12_288;

/// One whole reply: its code and the words of each line.
struct Reply {
    code: u16,
    words: Vec<String>,
}

/// Reads the greeting.
pub(super) async fn greeting(lines: &mut Lines) -> Result<(), Failed> {
    match reply(lines).await?.code {
        220 => Ok(()),
        _ => Err(Failed::Unreachable("not an SMTP greeting")),
    }
}

/// Asks for TLS; the server's 220 is the last thing to be read in clear.
pub(super) async fn ask_for_tls(lines: &mut Lines) -> Result<(), Failed> {
    hello(lines).await?;
    match ask(lines, "STARTTLS").await?.code {
        220 => Ok(()),
        _ => Err(Failed::Unreachable("no STARTTLS")),
    }
}

/// Logs in and leaves.
pub(super) async fn log_in(lines: &mut Lines, login: &Login<'_>) -> Result<(), Failed> {
    let offered = hello(lines).await?;
    let mechanism = login.mechanism(|name| offers(&offered, name))?;
    let response = login.response(mechanism);
    if response.len() > LONGEST_RESPONSE {
        return Err(Failed::Unreachable("the token is longer than SMTP can carry"));
    }
    let mut answer = ask(lines, &format!("AUTH {}", mechanism.as_str())).await?;
    if answer.code == 334 {
        answer = ask(lines, response.expose()).await?;
    }
    if answer.code == 334 {
        answer = ask(lines, sasl::after_failure(mechanism)).await?;
    }
    match answer.code {
        235 => {
            // What was proven stays proven, however the server takes the good-bye.
            let _ = lines.say("QUIT").await;
            Ok(())
        }
        535 => Err(Failed::Refused),
        _ => Err(Failed::Unreachable("the server cannot log in just now")),
    }
}

/// Says hello by an address literal, which needs no name (RFC 5321 section 4.1.4), and tells what is offered.
async fn hello(lines: &mut Lines) -> Result<Vec<String>, Failed> {
    let reply = ask(lines, "EHLO [127.0.0.1]").await?;
    if reply.code == 250 { Ok(reply.words) } else { Err(Failed::Unreachable("no EHLO")) }
}

fn offers(offered: &[String], mechanism: &str) -> bool {
    offered.iter().any(|line| {
        let mut words = line.split([' ', '=']);
        words.next().is_some_and(|first| first.eq_ignore_ascii_case("AUTH"))
            && words.any(|word| word.eq_ignore_ascii_case(mechanism))
    })
}

async fn ask(lines: &mut Lines, line: &str) -> Result<Reply, Failed> {
    lines.say(line).await?;
    reply(lines).await
}

async fn reply(lines: &mut Lines) -> Result<Reply, Failed> {
    let nonsense = Failed::Unreachable("not an SMTP answer");
    let mut words = Vec::new();
    loop {
        let line = lines.next().await?;
        let (digits, rest) = line.split_at_checked(3).ok_or(nonsense)?;
        let code = digits.parse().ok().filter(|code| (200..600).contains(code)).ok_or(nonsense)?;
        words.push(rest.get(1..).unwrap_or_default().to_owned());
        match rest.bytes().next() {
            None | Some(b' ') => return Ok(Reply { code, words }),
            Some(b'-') => {}
            Some(_) => return Err(nonsense),
        }
    }
}
