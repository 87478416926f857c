//! Rotation, and what a database writer can do to the keyring's rows.

use super::*;

const HERE: [u8; 16] = [1; 16];

fn entropy() -> Entropy {
    Entropy::seeded(21)
}

fn kek(seed: u64) -> Kek {
    Kek::generate(&Entropy::seeded(seed))
}

/// A keyring that has seen three terms.
fn three_terms(kek: &Kek) -> (Keyring, Vec<SealedTerm>) {
    let entropy = entropy();
    let (ring, _) = Keyring::create(kek, HERE, &entropy);
    let ring = next(&next(&ring));
    let rows = ring.rewrap(kek, &entropy);
    (ring, rows)
}

/// The same with one more term, in use.
fn next(ring: &Keyring) -> Keyring {
    ring.with_term(&Entropy::system()).unwrap().activated().unwrap()
}

fn roots(ring: &Keyring) -> Vec<[u8; 32]> {
    ring.terms.values().map(|keys| *keys.root.bytes()).collect()
}

#[test]
fn a_keyring_opens_with_the_key_that_sealed_it() {
    let (ring, rows) = three_terms(&kek(1));
    let opened = Keyring::open(&kek(1), HERE, rows).unwrap();
    assert_eq!(opened.terms().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(opened.active_term(), 3);
    assert_eq!(roots(&opened), roots(&ring));
}

#[test]
fn another_key_is_refused_by_name() {
    let (_, rows) = three_terms(&kek(1));
    let error = Keyring::open(&kek(2), HERE, rows.clone()).unwrap_err();
    let (sealed_by, given) = (kek(1).id().to_owned(), kek(2).id().to_owned());
    assert_eq!(error, KeyringError::OtherKek { term: 1, sealed_by, given });
    // Writing the other key's id into the rows does not help.
    let kek_id = kek(2).id().to_owned();
    let forged = rows.into_iter().map(|row| SealedTerm { kek_id: kek_id.clone(), ..row }).collect();
    let error = Keyring::open(&kek(2), HERE, forged).unwrap_err();
    assert_eq!(error, KeyringError::Unopenable { term: 1, why: SealError::Integrity });
}

#[test]
fn rewrapping_changes_the_rows_and_not_the_keys() {
    let (ring, before) = three_terms(&kek(1));
    let after = ring.rewrap(&kek(2), &entropy());
    assert_eq!(after.len(), before.len());
    assert!(after.iter().all(|row| row.kek_id == kek(2).id()));
    let opened = Keyring::open(&kek(2), HERE, after.clone()).unwrap();
    assert_eq!(roots(&opened), roots(&ring));
    assert!(Keyring::open(&kek(1), HERE, after).is_err());
}

#[test]
fn a_new_term_is_active_and_the_old_ones_stay() {
    let entropy = entropy();
    let (one, _) = Keyring::create(&kek(1), HERE, &entropy);
    let two = next(&one);
    let rows = two.rewrap(&kek(1), &entropy);
    assert_eq!((one.active_term(), two.active_term()), (1, 2));
    let flags: Vec<_> = rows.iter().map(|row| (row.term, row.active)).collect();
    assert_eq!(flags, [(1, false), (2, true)]);
    assert_eq!(roots(&two)[0], roots(&one)[0]);
    assert_ne!(roots(&two)[0], roots(&two)[1]);
}

#[test]
fn a_term_can_be_removed_unless_it_is_active() {
    let (ring, _) = three_terms(&kek(1));
    let rest = ring.without_term(1).unwrap();
    assert_eq!(rest.terms().collect::<Vec<_>>(), [2, 3]);
    let opened = Keyring::open(&kek(1), HERE, rest.rewrap(&kek(1), &entropy())).unwrap();
    assert_eq!(opened.term(1).err(), Some(SealError::UnknownTerm(1)));
    assert_eq!(opened.term(4).err(), Some(SealError::NewerTerm(4)));
    assert_eq!(ring.without_term(3).unwrap_err(), KeyringError::NotRemovable(3));
    assert_eq!(ring.without_term(4).unwrap_err(), KeyringError::NotRemovable(4));
}

#[test]
fn rows_of_another_instance_do_not_open() {
    let (_, rows) = three_terms(&kek(1));
    let error = Keyring::open(&kek(1), [2; 16], rows).unwrap_err();
    assert_eq!(error, KeyringError::Unopenable { term: 1, why: SealError::Integrity });
}

#[test]
fn terms_cannot_be_exchanged() {
    let (_, mut rows) = three_terms(&kek(1));
    let taken = rows[0].sealed.clone();
    rows[0].sealed = std::mem::replace(&mut rows[1].sealed, taken);
    assert!(matches!(
        Keyring::open(&kek(1), HERE, rows),
        Err(KeyringError::Unopenable { term: 1, why: SealError::Integrity })
    ));
}

#[test]
fn the_active_flag_cannot_be_moved() {
    let (_, mut rows) = three_terms(&kek(1));
    rows[0].active = true;
    rows[2].active = false;
    let error = Keyring::open(&kek(1), HERE, rows).unwrap_err();
    assert_eq!(error, KeyringError::Unopenable { term: 1, why: SealError::Integrity });
}

#[test]
fn an_old_active_row_put_back_beside_the_new_one_is_noticed() {
    let entropy = entropy();
    let (ring, old) = Keyring::create(&kek(1), HERE, &entropy);
    let mut rows = next(&ring).rewrap(&kek(1), &entropy);
    rows[0] = old[0].clone();
    assert_eq!(Keyring::open(&kek(1), HERE, rows).unwrap_err(), KeyringError::Active);
}

#[test]
fn missing_and_doubled_rows_are_noticed() {
    let open = |rows| Keyring::open(&kek(1), HERE, rows).unwrap_err();
    let (_, rows) = three_terms(&kek(1));
    assert_eq!(open(vec![]), KeyringError::Empty);
    assert_eq!(open(rows[..2].to_vec()), KeyringError::Active);
    assert_eq!(open([&rows[..1], &rows[..]].concat()), KeyringError::Number(1));
    let zero = SealedTerm { term: 0, ..rows[0].clone() };
    assert_eq!(open(vec![zero]), KeyringError::Number(0));
}

#[test]
fn a_value_of_a_term_is_not_taken_for_a_term_key() {
    let (ring, mut rows) = three_terms(&kek(1));
    let place = place_of(1, 3).associated_data(&HERE, 3);
    let keys = ring.active();
    rows[0].sealed =
        envelope::seal(&keys.values, 3, &entropy(), place.as_bytes(), &[0; 32]).unwrap();
    let error = Keyring::open(&kek(1), HERE, rows).unwrap_err();
    assert_eq!(error, KeyringError::Unopenable { term: 1, why: SealError::UnknownTerm(3) });
}

#[test]
fn a_keyring_prints_its_terms_only() {
    let (ring, _) = three_terms(&kek(1));
    assert_eq!(format!("{ring:?}"), "Keyring(terms [1, 2, 3], active 3)");
}

#[test]
fn a_pending_term_opens_and_is_not_sealed_under_until_it_is_active() {
    let (ring, _) = Keyring::create(&kek(1), HERE, &entropy());
    let pending = ring.with_term(&entropy()).unwrap();
    let opened = Keyring::open(&kek(1), HERE, pending.rewrap(&kek(1), &entropy())).unwrap();
    assert_eq!((opened.active_term(), opened.pending_term()), (1, Some(2)));
    assert!(opened.term(2).is_ok());
    assert!(matches!(opened.with_term(&entropy()), Err(KeyringError::Pending(_))));
    let active = opened.activated().unwrap();
    assert_eq!((active.active_term(), active.pending_term()), (2, None));
    assert_eq!(roots(&active), roots(&pending));
    assert!(matches!(active.activated(), Err(KeyringError::Pending(_))));
}

#[test]
fn a_pending_term_cannot_be_made_active_in_the_database_nor_an_active_one_pending() {
    let (ring, _) = Keyring::create(&kek(1), HERE, &entropy());
    for ring in [ring.with_term(&entropy()).unwrap(), next(&ring)] {
        let mut rows = ring.rewrap(&kek(1), &entropy());
        rows.iter_mut().for_each(|row| row.active = !row.active);
        let error = Keyring::open(&kek(1), HERE, rows).unwrap_err();
        assert!(matches!(error, KeyringError::Unopenable { term: 1, .. }), "{error}");
    }
}
