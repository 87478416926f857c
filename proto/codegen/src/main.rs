//! Writes `proto/src/generated` from the `.proto` files. Run by `make proto`; needs no protoc.
//!
//! Never run by a build: the result is committed, and `make check` fails if it is not what this would write.

use std::path::Path;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("proto/ is above")?;
    let mut files: Vec<_> = std::fs::read_dir(proto.join("tokenbroker/v1"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    let descriptors = protox::compile(&files, [proto])?;
    let generated = proto.join("src/generated");
    std::fs::create_dir_all(&generated)?;
    std::fs::write(generated.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .client_mod_attribute("tokenbroker.v1", "#[cfg(feature = \"client\")]")
        .server_mod_attribute("tokenbroker.v1", "#[cfg(feature = \"server\")]")
        .skip_debug(SECRETS)
        .out_dir(&generated)
        .compile_fds(descriptors)?;
    Ok(())
}

/// Messages with a secret in them get no derived Debug; `proto/src/redacted.rs` writes one that hides it.
const SECRETS: [&str; 11] = [
    "tokenbroker.v1.GetAccessTokenResponse",
    "tokenbroker.v1.OpenSessionRequest",
    "tokenbroker.v1.MailSession",
    "tokenbroker.v1.CreateAppRequest",
    "tokenbroker.v1.AddAppSecretRequest",
    "tokenbroker.v1.ExchangeConsentRequest",
    "tokenbroker.v1.FinishConsentRequest",
    "tokenbroker.v1.CreateCredentialResponse",
    "tokenbroker.v1.RotateCredentialResponse",
    "tokenbroker.v1.CreateCallerResponse",
    "tokenbroker.v1.CreateCallerKeyResponse",
];
