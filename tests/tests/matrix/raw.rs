//! Any call of the contract by its name, with names filled in where its request has them, answered with a code.
//!
//! What the request asks for does not exist, so that a call which is permitted by mistake does no harm.

use std::collections::HashMap;

use anyhow::{Context, Result};
use prost::Message;
use prost::bytes::{Buf, BufMut};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};
use token_broker_client::Connection;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

/// A method: `tokenbroker.v1.Service`, `Method`, its request's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    pub(crate) service: String,
    pub(crate) name: String,
    request: Vec<u8>,
}

/// All methods of the contract that answer once.
pub(crate) fn methods() -> Result<Vec<Method>> {
    let set = FileDescriptorSet::decode(tokenbroker_proto::FILE_DESCRIPTOR_SET)?;
    let ours: Vec<_> = set.file.iter().filter(|it| it.package() == "tokenbroker.v1").collect();
    let all = ours.iter().flat_map(|file| &file.message_type);
    let messages: HashMap<String, &DescriptorProto> =
        all.map(|message| (format!(".tokenbroker.v1.{}", message.name()), message)).collect();
    let mut methods = Vec::new();
    for service in ours.iter().flat_map(|file| &file.service) {
        for method in service.method.iter().filter(|method| !method.server_streaming()) {
            let message = messages.get(method.input_type()).context("an unknown request")?;
            methods.push(Method {
                service: service.name().to_owned(),
                name: method.name().to_owned(),
                request: filled(message, &messages, service.name(), 0),
            });
        }
    }
    Ok(methods)
}

fn filled(
    message: &DescriptorProto,
    messages: &HashMap<String, &DescriptorProto>,
    service: &str,
    depth: usize,
) -> Vec<u8> {
    let kind = match service {
        "AppService" => "apps",
        "AccountService" => "accounts",
        "ConsentService" => "consents",
        "CredentialService" => "credentials",
        _ => "callers",
    };
    let mut bytes = Vec::new();
    for field in message
        .field
        .iter()
        .filter(|field| field.label() != prost_types::field_descriptor_proto::Label::Repeated)
    {
        let text = match (field.r#type(), field.name(), service) {
            (Type::String, "name", _) => format!("projects/default/{kind}/nothing").into_bytes(),
            (Type::String, "parent", "CredentialService") => {
                b"projects/default/accounts/nothing".to_vec()
            }
            (Type::String, "parent", _) => b"projects/default".to_vec(),
            (Type::String, "account", _) => b"projects/default/accounts/nothing".to_vec(),
            (Type::Message, _, _) if depth == 0 => match messages.get(field.type_name()) {
                Some(inner) => filled(inner, messages, service, 1),
                None => continue,
            },
            _ => continue,
        };
        let key = (u64::try_from(field.number()).unwrap_or(0) << 3) | 2;
        prost::encoding::encode_varint(key, &mut bytes);
        prost::encoding::encode_varint(text.len() as u64, &mut bytes);
        bytes.extend_from_slice(&text);
    }
    bytes
}

/// Makes the call.
pub(crate) async fn ask(connection: &Connection, method: &Method) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(connection.door());
    let ready = client.ready().await;
    ready.map_err(|error| Status::unknown(error.to_string()))?;
    let path = format!("/tokenbroker.v1.{}/{}", method.service, method.name);
    let path = path.parse().map_err(|_| Status::unknown("no path"))?;
    client.unary(Request::new(method.request.clone()), path, Bytes).await.map(drop)
}

/// Bytes as they are.
#[derive(Clone, Copy, Debug, Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; from.remaining()];
        from.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}
