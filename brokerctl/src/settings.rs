//! Which broker, with which key: flags, environment, file, in that order.
//!
//! Never reads the key itself; the client does and refuses a file that others can read. Invariant: an unknown word in
//! the file is an error that names the known ones. Next: `session`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use token_broker_client::Options;

use crate::cli::Global;
use crate::failure::Failure;

const DEFAULT_SERVER: &str = "http://127.0.0.1:8641";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    key_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

/// What the client needs, from flags, environment and file.
pub(crate) fn options(global: &Global) -> Result<Options, Failure> {
    let file = file(global)?;
    let server = global.server.clone().or_else(|| variable("BROKERCTL_SERVER")).or(file.server);
    let options = Options::new(server.unwrap_or_else(|| DEFAULT_SERVER.into()));
    let options = options.deadline(global.deadline).cache_entries(0);
    let options = with_key(options, global, file.key_file)?;
    let ca_file = global.ca_file.clone();
    let ca_file = ca_file.or_else(|| variable("BROKERCTL_CA_FILE").map(PathBuf::from));
    let options = match ca_file.or(file.ca_file) {
        Some(path) => options.ca_file(path),
        None => options,
    };
    Ok(if global.allow_plaintext { options.allow_plaintext() } else { options })
}

fn with_key(
    options: Options,
    global: &Global,
    from_file: Option<PathBuf>,
) -> Result<Options, Failure> {
    if let Some(path) = &global.key_file {
        return Ok(options.api_key_file(path));
    }
    if variable("BROKERCTL_KEY").is_some() {
        return Ok(options.api_key_env("BROKERCTL_KEY"));
    }
    let path = variable("BROKERCTL_KEY_FILE").map(PathBuf::from).or(from_file);
    path.map(|path| options.api_key_file(path)).ok_or_else(|| {
        Failure::usage(
            "no API key: brokerctl does not know who you are",
            "--key-file FILE or BROKERCTL_KEY_FILE; `token-broker init` wrote the first admin key",
        )
    })
}

fn file(global: &Global) -> Result<File, Failure> {
    let named = global.config.clone().or_else(|| variable("BROKERCTL_CONFIG").map(PathBuf::from));
    let Some(path) = named.clone().or_else(usual_file) else { return Ok(File::default()) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(File::default());
        }
        Err(error) => {
            return Err(Failure::usage(
                format!("the config file {} cannot be read: {error}", path.display()),
                "check the path",
            ));
        }
    };
    parse(&text, &path)
}

fn parse(text: &str, path: &Path) -> Result<File, Failure> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        Failure::usage(
            format!("{}, line {line}: {}", path.display(), error.message()),
            "it may say server, key_file and ca_file, each as NAME = \"VALUE\"",
        )
    })
}

fn usual_file() -> Option<PathBuf> {
    let base = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")))?;
    Some(base.join("token-broker/brokerctl.toml"))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_in_the_file_is_named_with_its_line() {
        let Err(Failure::Usage { what, remedy }) =
            parse("server = \"x\"\nkey = \"tbk_\"\n", Path::new("c"))
        else {
            panic!("refused")
        };
        assert!(what.starts_with("c, line 2:") && what.contains("key"), "{what}");
        assert!(remedy.contains("key_file"), "{remedy}");
    }
}
