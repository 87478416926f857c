//! The Token Broker contract: messages, client stubs and server traits of `tokenbroker.v1`.
//!
//! Never edited by hand below `generated/`; `make proto` writes it from `proto/tokenbroker/v1/*.proto` without protoc.
//! Invariant: a message that carries a secret prints `[secret]` in its place. Next: read the `.proto` files, they are the
//! documentation.

/// Package `tokenbroker.v1`.
#[expect(clippy::all, clippy::allow_attributes, reason = "generated")]
pub mod v1 {
    include!("generated/tokenbroker.v1.rs");
}

mod redacted;

/// The descriptors of the whole contract, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptors.bin");
