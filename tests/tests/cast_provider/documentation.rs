//! The page about the simulator says what is so: every example in it is run.

use anyhow::{Context, Result, ensure};
use e2e::cast::provider::Provider;
use e2e::cast::provider::settings::ProviderSettings;
use e2e::world::command::{Program, is_installed};
use e2e::world::engine::skip;

const PAGE: &str = include_str!("../../../docs/provider-simulator.md");

/// The commands of the page's shell blocks; a backslash at a line's end joins it to the next.
fn examples() -> Vec<String> {
    let joined = PAGE.replace("\\\n", " ");
    let mut inside = false;
    let mut commands = Vec::new();
    for line in joined.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside && line.starts_with("curl ") {
            commands.push(line.to_owned());
        }
    }
    commands
}

#[tokio::test]
async fn every_curl_example_of_the_page_works() -> Result<()> {
    if !is_installed("curl") {
        return skip("curl is not installed");
    }
    let examples = examples();
    assert!(examples.len() >= 20, "{}", examples.len());
    for example in examples {
        // Each has a simulator of its own, so that one example's outage is not the next one's.
        let provider = Provider::start(ProviderSettings::default()).await?;
        let token = provider.issue("alice@example.test", "mail").refresh.context("none")?.token;
        let command = example.replacen("curl ", "curl -sS -w '\\n%{http_code}' --max-time 10 ", 1);
        let run = Program::new("sh").arg("-c").arg(&command);
        let run = run.env("I", provider.issuer()).env("RT", token).run().await?;
        let status = run.stdout.lines().last().unwrap_or_default().to_owned();
        ensure!(run.code == Some(0) && status.starts_with('2'), "{example}\n{run}");
    }
    Ok(())
}
