//! What the contract has no field for (threat T37): whoever administers the broker over its API steers no file, no program and
//! no template on its host.

use anyhow::Result;
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet};

/// Words of which none stands in the name of a field.
const WORDS: [&str; 16] = [
    "path",
    "file",
    "filename",
    "dir",
    "directory",
    "folder",
    "socket",
    "command",
    "cmd",
    "exec",
    "program",
    "script",
    "shell",
    "hook",
    "template",
    "plugin",
];

/// The fields that could be about a place or a program on the broker's host.
fn suspicious(message: &DescriptorProto) -> Vec<String> {
    let of_words = |name: &&str| name.split('_').any(|word| WORDS.contains(&word));
    let names = message.field.iter().map(|field| field.name());
    let mut found: Vec<String> =
        names.filter(of_words).map(|name| format!("{}.{name}", message.name())).collect();
    found.extend(message.nested_type.iter().flat_map(suspicious));
    found
}

#[test]
fn t37_no_field_of_the_contract_names_a_file_a_program_or_a_template_of_the_host() -> Result<()> {
    let set = FileDescriptorSet::decode(tokenbroker_proto::FILE_DESCRIPTOR_SET)?;
    let ours: Vec<_> = set.file.iter().filter(|it| it.package() == "tokenbroker.v1").collect();
    let messages: Vec<_> = ours.iter().flat_map(|file| &file.message_type).collect();
    assert!(messages.len() > 50, "the contract is there");
    let found: Vec<String> = messages.iter().flat_map(|message| suspicious(message)).collect();
    assert!(found.is_empty(), "{found:?}");
    let mut planted = messages[0].clone();
    planted.field.push(prost_types::FieldDescriptorProto {
        name: Some("audit_file".to_owned()),
        ..Default::default()
    });
    assert_eq!(suspicious(&planted).len(), 1, "one would be found");
    Ok(())
}
