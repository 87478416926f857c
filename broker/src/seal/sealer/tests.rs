//! Values that are moved, put back, cut and opened by the wrong key; and rotation under load.

use std::thread;

use proptest::prelude::*;

use super::super::kek::Kek;
use super::*;

const HERE: [u8; 16] = [1; 16];
const TABLES: [&str; 4] = ["token", "token_", "app", ""];
const COLUMNS: [&str; 4] = ["refresh", "_refresh", "access", ""];

pub(in super::super) fn kek() -> Kek {
    Kek::generate(&Entropy::seeded(31))
}

/// A sealer of one instance, the same each time.
pub(in super::super) fn sealer_of(instance: [u8; 16]) -> Sealer {
    let entropy = Entropy::seeded(32);
    let (keyring, _) = Keyring::create(&kek(), instance, &entropy);
    Sealer::new(keyring, Entropy::seeded(33))
}

fn sealer() -> Sealer {
    sealer_of(HERE)
}

/// Adds a term, as an operator does.
pub(in super::super) fn rotate(sealer: &Sealer) {
    let keyring = sealer.keyring().with_term(&Entropy::system()).unwrap().activated().unwrap();
    sealer.adopt(keyring);
}

fn place() -> Place {
    Place { table: "token", column: "refresh", row: [7; 16], generation: 4 }
}

fn places() -> impl Strategy<Value = Place> {
    let names = (0..TABLES.len(), 0..COLUMNS.len());
    (names, 0u8..3, prop_oneof![Just(0), Just(1), Just(256), any::<u64>()]).prop_map(
        |((table, column), row, generation)| Place {
            table: TABLES[table],
            column: COLUMNS[column],
            row: [row; 16],
            generation,
        },
    )
}

/// What the first version of this would have been: sealed, but not for any place.
mod without_associated_data {
    use super::*;

    pub(super) fn seal(sealer: &Sealer, _: &Place, plain: &[u8]) -> Sealed {
        let keyring = sealer.keyring();
        let keys = keyring.active();
        envelope::seal(&keys.values, keys.number, &Entropy::system(), b"", plain).unwrap()
    }

    pub(super) fn open(
        sealer: &Sealer,
        _: &Place,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        Envelope::parse(sealed)?.open(&sealer.keyring().active().values, b"")
    }
}

#[test]
fn a_secret_comes_back_where_it_was_sealed() {
    let sealer = sealer();
    let secret = Secret::from("1//0refresh-äöü");
    let sealed = sealer.seal(&place(), &secret).unwrap();
    assert_eq!(sealer.open(&place(), &sealed).unwrap(), secret);
    assert_eq!(sealer.term_of(&sealed).unwrap(), 1);
    let empty = sealer.seal(&place(), &Secret::from("")).unwrap();
    assert!(sealer.open(&place(), &empty).unwrap().is_empty());
}

#[test]
fn t6_sealing_twice_gives_different_bytes_without_the_secret() {
    let sealer = sealer();
    let secret = Secret::from("canary-canary-canary");
    let (one, two) =
        (sealer.seal(&place(), &secret).unwrap(), sealer.seal(&place(), &secret).unwrap());
    assert_ne!(one, two);
    assert!(!one.as_bytes().windows(6).any(|window| window == b"canary"));
}

#[test]
fn t4_moving_a_value_to_another_row_succeeds_without_associated_data() {
    let sealer = sealer();
    let elsewhere = Place { row: [8; 16], ..place() };
    let sealed = without_associated_data::seal(&sealer, &place(), b"the victim's token");
    let stolen = without_associated_data::open(&sealer, &elsewhere, &sealed).unwrap();
    assert_eq!(*stolen, b"the victim's token");
}

#[test]
fn t4_moving_a_value_to_another_row_fails_with_it() {
    let sealer = sealer();
    let elsewhere = Place { row: [8; 16], ..place() };
    let sealed = sealer.seal(&place(), &Secret::from("the victim's token")).unwrap();
    assert_eq!(sealer.open(&elsewhere, &sealed), Err(SealError::Integrity));
    // Nor does a value without associated data open through the front door.
    let sealed = without_associated_data::seal(&sealer, &place(), b"the victim's token");
    assert_eq!(sealer.open(&place(), &sealed), Err(SealError::Integrity));
}

#[test]
fn t4_an_older_value_cannot_be_put_back() {
    let sealer = sealer();
    let old = sealer.seal(&place(), &Secret::from("revoked")).unwrap();
    let now = Place { generation: 5, ..place() };
    assert_eq!(sealer.open(&now, &old), Err(SealError::Integrity));
}

proptest! {
    #[test]
    fn a_value_opens_at_its_own_place_and_at_no_other(from in places(), to in places()) {
        let sealer = sealer();
        let sealed = sealer.seal(&from, &Secret::from("token")).unwrap();
        let opened = sealer.open(&to, &sealed);
        if from == to {
            prop_assert_eq!(opened, Ok(Secret::from("token")));
        } else {
            prop_assert_eq!(opened, Err(SealError::Integrity));
        }
    }

    #[test]
    fn any_bytes_come_back(plain in proptest::collection::vec(any::<u8>(), 0..300)) {
        let sealer = sealer();
        let sealed = sealer.seal_bytes(&place(), &plain).unwrap();
        prop_assert_eq!(&*sealer.open_bytes(&place(), &sealed).unwrap(), &plain);
    }

    #[test]
    fn any_changed_bit_is_noticed(bit in 0usize..(30 + 5 + 16) * 8) {
        let sealer = sealer();
        let mut bytes = sealer.seal(&place(), &Secret::from("token")).unwrap().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(sealer.open(&place(), &Sealed::from_bytes(bytes)).is_err());
    }

    #[test]
    fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        prop_assert!(sealer().open(&place(), &Sealed::from_bytes(bytes)).is_err());
    }
}

#[test]
fn t4_every_pair_of_places_is_told_apart() {
    let sealer = sealer();
    let mut all = Vec::new();
    for (table, column) in TABLES.iter().flat_map(|t| COLUMNS.iter().map(move |c| (*t, *c))) {
        for (row, generation) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            all.push(Place { table, column, row: [row; 16], generation });
        }
    }
    let sealed: Vec<_> =
        all.iter().map(|place| sealer.seal(place, &Secret::from("x")).unwrap()).collect();
    for (at, found) in all.iter().enumerate() {
        for (from, value) in sealed.iter().enumerate() {
            assert_eq!(sealer.open(found, value).is_ok(), at == from, "{found:?} {:?}", all[from]);
        }
    }
}

#[test]
fn a_value_of_another_instance_does_not_open() {
    let sealed = sealer().seal(&place(), &Secret::from("token")).unwrap();
    // The same key material under another instance id: a restored copy of the database, say.
    assert_eq!(sealer_of([2; 16]).open(&place(), &sealed), Err(SealError::Integrity));
}

#[test]
fn an_unknown_term_or_format_is_named_before_anything_is_decrypted() {
    let sealer = sealer();
    let good = sealer.seal(&place(), &Secret::from("token")).unwrap().into_bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        sealer.open(&place(), &Sealed::from_bytes(bytes)).unwrap_err()
    };
    assert_eq!(with(0, 7), SealError::UnknownVersion(7));
    assert_eq!(with(1, 7), SealError::UnknownAlgorithm(7));
    assert_eq!(with(5, 7), SealError::NewerTerm(7));
    assert_eq!(with(5, 0), SealError::UnknownTerm(0));
}

#[test]
fn a_known_but_wrong_term_is_refused() {
    let sealer = sealer();
    let mut bytes = sealer.seal(&place(), &Secret::from("token")).unwrap().into_bytes();
    rotate(&sealer);
    bytes[5] = 2;
    assert_eq!(sealer.open(&place(), &Sealed::from_bytes(bytes)), Err(SealError::Integrity));
}

#[test]
fn bytes_that_are_not_text_open_as_bytes_only() {
    let sealer = sealer();
    let sealed = sealer.seal_bytes(&place(), &[0xff, 0xfe]).unwrap();
    assert_eq!(sealer.open(&place(), &sealed), Err(SealError::NotText));
    assert_eq!(*sealer.open_bytes(&place(), &sealed).unwrap(), [0xff, 0xfe]);
}

#[test]
fn after_a_rotation_old_values_open_and_new_ones_are_under_the_new_term() {
    let sealer = sealer();
    let twin = sealer.clone();
    let old = sealer.seal(&place(), &Secret::from("token")).unwrap();
    rotate(&sealer);
    assert_eq!(twin.open(&place(), &old).unwrap(), Secret::from("token"));
    let moved = twin.reseal(&place(), &old).unwrap().unwrap();
    assert_eq!(twin.term_of(&moved).unwrap(), 2);
    assert_eq!(twin.open(&place(), &moved).unwrap(), Secret::from("token"));
    assert_eq!(twin.reseal(&place(), &moved).unwrap(), None);
    // Once nothing is under the old term it can go, and what was left would be told by name.
    sealer.adopt(sealer.keyring().without_term(1).unwrap());
    assert_eq!(twin.open(&place(), &old), Err(SealError::UnknownTerm(1)));
}

#[test]
fn keys_and_terms_rotate_while_others_seal_and_open() {
    let sealer = sealer();
    thread::scope(|scope| {
        for _ in 0..2 {
            let sealer = sealer.clone();
            scope.spawn(move || {
                for round in 0..200 {
                    let place = Place { generation: round, ..place() };
                    let secret = Secret::from(format!("token {round}"));
                    let sealed = sealer.seal(&place, &secret).unwrap();
                    let sealed = sealer.reseal(&place, &sealed).unwrap().unwrap_or(sealed);
                    assert_eq!(sealer.open(&place, &sealed).unwrap(), secret);
                }
            });
        }
        scope.spawn(|| {
            for seed in 0..20 {
                rotate(&sealer);
                let kek = Kek::generate(&Entropy::seeded(seed));
                let rows = sealer.keyring().rewrap(&kek, &Entropy::system());
                sealer.adopt(Keyring::open(&kek, HERE, rows).unwrap());
            }
        });
    });
    assert_eq!(sealer.active_term(), 21);
}

#[test]
fn a_sealer_prints_no_key() {
    assert_eq!(format!("{:?}", sealer()), "Sealer(Keyring(terms [1], active 1))");
}
