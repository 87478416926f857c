//! Bytes written by the first version, which every later version must read: the formats of the design's section 5.
//!
//! A change that breaks one of these tests loses what is in people's databases: add a format beside it instead. The
//! values were checked against an independent implementation (Python: `hmac`, and AES-GCM under its KBKDF with CMAC).

use data_encoding::HEXLOWER;

use crate::domain::guarded::Canonical;

use super::credential::{self, KeyedHash, Kind};
use super::*;
use crate::domain::secret::{Sealed, Secret};
use crate::entropy::Entropy;

const KEK: &str = "tbkek1_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const INSTANCE: [u8; 16] = *b"day-one-instance";
const KEK_ID: &str = "173ff5128e7016c7";
const TERM_1: &str = "010100000000\
    5aa4d5cd5734c6dc57c7fd8056058eb95ade160a83d0bd72b89f860176939ab5b7615e5a9404d7b5\
    df21e5b2311828171ca0f28ae99d3814ec13c98f9e275e36b212e9063fb75ece";
const VALUE: &str = "010100000001\
    caffee15ef7888464523a0efb2fa543db9960a80e36bffe51729f4b4c1578422b6a9b56a382e98f7\
    2a085b5fb4f24992423fc5d8dd";
const RIGHTS: &str = "00000001afe019299408ca5a586dc36238e8e8d64274c42b8b421338fdfbcf5688816b4b";
const CREDENTIAL: &str = "tb_vy1qzpgfpjxz_3p3yzmay29hgy2ddrvchcykdrv_qy";
const CREDENTIAL_HASH: &str =
    "00000001f642dfe53c9f17c7ae8edbbb8979f95f0a946a86e823588bbb2d64eeb1f5724b";
const API_KEY: &str = "tbk_vy1qzpgfpjxz_3p3yzmay29hgy2ddrvchcykdrv_qn";
const API_KEY_HASH: &str =
    "00000001ca2bbacf84d206da05abee7e2e623b2cccb014d7ec2e9fdb1184381eb9bc7080";

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn sealer() -> Sealer {
    let kek = Kek::parse(KEK).unwrap();
    let sealed = Sealed::from_bytes(bytes(TERM_1));
    let row = SealedTerm { term: 1, sealed, kek_id: KEK_ID.to_owned(), active: true };
    Sealer::new(Keyring::open(&kek, INSTANCE, vec![row]).unwrap(), Entropy::seeded(1))
}

fn place() -> Place {
    Place { table: "token", column: "refresh", row: *b"0123456789abcdef", generation: 7 }
}

fn rights() -> Canonical {
    Canonical::new("credential", *b"0123456789abcdef", 3)
        .text("status", "active")
        .bytes("account", &b"fedcba9876543210"[..])
        .number("expires", 1_700_000_000_000)
        .list("protocols", ["imap", "smtp"])
        .text("note", None)
}

#[test]
fn the_key_the_keyring_and_a_value_still_open() {
    assert_eq!(Kek::parse(KEK).unwrap().id(), KEK_ID);
    let value = Sealed::from_bytes(bytes(VALUE));
    assert_eq!(sealer().open(&place(), &value).unwrap(), Secret::from("1//0g-refresh"));
}

#[test]
fn rights_are_still_believed() {
    let mac = RightsMac::from_bytes(&bytes(RIGHTS)).unwrap();
    assert_eq!(sealer().check_mac(&rights(), &mac), Ok(()));
}

#[test]
fn credentials_still_log_in() {
    for (kind, text, hash) in
        [(Kind::Proxy, CREDENTIAL, CREDENTIAL_HASH), (Kind::ApiKey, API_KEY, API_KEY_HASH)]
    {
        let presented = credential::parse(text).unwrap();
        assert_eq!(presented.kind, kind);
        let stored = KeyedHash::from_bytes(&bytes(hash)).unwrap();
        assert_eq!(sealer().matches(&presented, &stored), Ok(true));
    }
}
