//! What a database writer may try on a row that grants rights.

use proptest::prelude::*;

use super::super::sealer::tests::{rotate, sealer_of};
use super::*;

const NAMES: [&str; 6] = ["account", "scopes", "protocols", "expires", "project", "status"];

fn sealer() -> Sealer {
    sealer_of([1; 16])
}

/// A credential as the database has it.
#[derive(Clone)]
struct Row {
    account: [u8; 16],
    scopes: Vec<&'static str>,
    expires: Option<i64>,
    mac: RightsMac,
}

impl Row {
    fn new(sealer: &Sealer) -> Self {
        let mac = RightsMac::from_bytes(&[0; TAG_LEN]).unwrap();
        let mut row = Self { account: [1; 16], scopes: vec!["imap"], expires: Some(9), mac };
        row.mac = sealer.mac(&row.rights());
        row
    }

    fn rights(&self) -> Canonical {
        Canonical::new("credential", [5; 16], 3)
            .bytes("account", &self.account[..])
            .list("scopes", self.scopes.iter().copied())
            .number("expires", self.expires)
    }

    /// The decision as it would be without a MAC: what the row says goes.
    fn may_unchecked(&self, scope: &str) -> bool {
        self.scopes.contains(&scope)
    }

    fn may(&self, scope: &str, sealer: &Sealer) -> Result<bool, SealError> {
        sealer.check_mac(&self.rights(), &self.mac)?;
        Ok(self.may_unchecked(scope))
    }
}

#[test]
fn t5_widening_a_scope_in_the_database_works_without_the_check() {
    let mut row = Row::new(&sealer());
    assert!(!row.may_unchecked("smtp"));
    row.scopes.push("smtp");
    assert!(row.may_unchecked("smtp"));
}

#[test]
fn t5_widening_a_scope_in_the_database_fails_with_the_check() {
    let sealer = sealer();
    let honest = Row::new(&sealer);
    assert_eq!(honest.may("imap", &sealer), Ok(true));
    let mut row = honest.clone();
    row.scopes.push("smtp");
    assert_eq!(row.may("smtp", &sealer), Err(SealError::Integrity));
    let mut row = honest.clone();
    row.account = [2; 16];
    assert_eq!(row.may("imap", &sealer), Err(SealError::Integrity));
    for expires in [None, Some(i64::MAX)] {
        let row = Row { expires, ..honest.clone() };
        assert_eq!(row.may("imap", &sealer), Err(SealError::Integrity));
    }
}

/// A column of any type, for the properties below.
#[derive(Debug, Clone, PartialEq)]
enum Column {
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Number(Option<i64>),
    List(Vec<String>),
}

fn columns() -> impl Strategy<Value = Vec<Column>> {
    let column = prop_oneof![
        proptest::option::of("[a-c]{0,3}").prop_map(Column::Text),
        proptest::option::of(proptest::collection::vec(97u8..99, 0..4)).prop_map(Column::Bytes),
        proptest::option::of(-2i64..3).prop_map(Column::Number),
        proptest::collection::vec("[a-b]{0,2}", 0..4).prop_map(Column::List),
    ];
    proptest::collection::vec(column, 1..NAMES.len())
}

fn canonical(columns: &[Column]) -> Canonical {
    let start = Canonical::new("caller", [6; 16], 1);
    NAMES.into_iter().zip(columns).fold(start, |all, (name, column)| match column {
        Column::Text(value) => all.text(name, value.as_deref()),
        Column::Bytes(value) => all.bytes(name, value.as_deref()),
        Column::Number(value) => all.number(name, *value),
        Column::List(items) => all.list(name, items.iter().map(String::as_str)),
    })
}

/// Null is null in the database, whatever the column's type.
fn stored(column: &Column) -> Column {
    match column {
        Column::Text(None) | Column::Bytes(None) => Column::Number(None),
        other => other.clone(),
    }
}

/// Flips one bit of a column, if it has that bit. Texts keep to ASCII, so that they stay texts.
fn flip(column: &mut Column, bit: usize) -> bool {
    fn flip_ascii(text: &mut String, bit: usize) -> bool {
        let mut bytes = std::mem::take(text).into_bytes();
        let hit = bytes.get_mut(bit / 7).map(|byte| *byte ^= 1 << (bit % 7)).is_some();
        *text = String::from_utf8(bytes).unwrap();
        hit
    }
    match column {
        Column::Text(Some(text)) => flip_ascii(text, bit),
        Column::Bytes(Some(bytes)) => {
            bytes.get_mut(bit / 8).map(|byte| *byte ^= 1 << (bit % 8)).is_some()
        }
        Column::Number(Some(number)) => {
            *number ^= 1i64.checked_shl(bit as u32).unwrap_or(0);
            bit < 64
        }
        Column::List(items) => items.first_mut().is_some_and(|item| flip_ascii(item, bit)),
        Column::Text(None) | Column::Bytes(None) | Column::Number(None) => false,
    }
}

proptest! {
    #[test]
    fn a_mac_fits_its_own_columns_and_no_others(one in columns(), two in columns()) {
        let sealer = sealer();
        let mac = sealer.mac(&canonical(&one));
        let same = one.iter().map(stored).eq(two.iter().map(stored));
        prop_assert_eq!(sealer.check_mac(&canonical(&two), &mac).is_ok(), same);
        prop_assert!(sealer.check_mac(&canonical(&one), &mac).is_ok());
    }

    #[test]
    fn any_flipped_bit_of_any_column_is_noticed(before in columns()) {
        let sealer = sealer();
        let mac = sealer.mac(&canonical(&before));
        for at in 0..before.len() {
            for bit in 0..64 {
                let mut after = before.clone();
                if flip(&mut after[at], bit) {
                    let checked = sealer.check_mac(&canonical(&after), &mac);
                    prop_assert_eq!(checked, Err(SealError::Integrity), "{:?}", after);
                }
            }
        }
    }

    #[test]
    fn swapped_columns_are_noticed(before in columns(), one in 0usize..6, two in 0usize..6) {
        let (one, two) = (one % before.len(), two % before.len());
        let mut after = before.clone();
        after.swap(one, two);
        prop_assume!(stored(&before[one]) != stored(&before[two]));
        let sealer = sealer();
        let mac = sealer.mac(&canonical(&before));
        prop_assert_eq!(sealer.check_mac(&canonical(&after), &mac), Err(SealError::Integrity));
    }

    #[test]
    fn any_flipped_bit_of_the_mac_is_noticed(bit in 0usize..TAG_LEN * 8) {
        let sealer = sealer();
        let rights = canonical(&[Column::Number(Some(1))]);
        let mut bytes = *sealer.mac(&rights).as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mac = RightsMac::from_bytes(&bytes).unwrap();
        prop_assert!(sealer.check_mac(&rights, &mac).is_err());
    }
}

#[test]
fn table_row_version_and_column_names_are_covered() {
    let sealer = sealer();
    let rights =
        |table, row, version, name| Canonical::new(table, [row; 16], version).text(name, "x");
    let mac = sealer.mac(&rights("credential", 1, 1, "scope"));
    assert!(sealer.check_mac(&rights("credential", 1, 1, "scope"), &mac).is_ok());
    for other in [
        rights("caller", 1, 1, "scope"),
        rights("credential", 2, 1, "scope"),
        rights("credential", 1, 2, "scope"),
        rights("credential", 1, 1, "scopes"),
    ] {
        assert_eq!(sealer.check_mac(&other, &mac), Err(SealError::Integrity));
    }
}

#[test]
fn null_is_not_empty() {
    let sealer = sealer();
    let start = || Canonical::new("caller", [1; 16], 1);
    let forms = [
        start().text("a", None),
        start().text("a", ""),
        start().bytes("a", &[][..]),
        start().list("a", []),
        start().list("a", [""]),
        start().number("a", 0),
    ];
    for (at, one) in forms.iter().enumerate() {
        let mac = sealer.mac(one);
        for (other, two) in forms.iter().enumerate() {
            assert_eq!(sealer.check_mac(two, &mac).is_ok(), at == other);
        }
    }
}

#[test]
fn a_mac_of_another_instance_or_of_an_unknown_term_is_refused() {
    let rights = canonical(&[Column::Number(Some(1))]);
    let mac = sealer_of([2; 16]).mac(&rights);
    assert_eq!(sealer().check_mac(&rights, &mac), Err(SealError::Integrity));
    let newer = sealer();
    rotate(&newer);
    let mac = newer.mac(&rights);
    assert_eq!(mac.term(), 2);
    assert_eq!(sealer().check_mac(&rights, &mac), Err(SealError::NewerTerm(2)));
}

#[test]
fn an_old_mac_stays_good_after_a_rotation() {
    let sealer = sealer();
    let rights = canonical(&[Column::Number(Some(1))]);
    let mac = sealer.mac(&rights);
    rotate(&sealer);
    assert_eq!(sealer.check_mac(&rights, &mac), Ok(()));
    let restored = RightsMac::from_bytes(mac.as_bytes()).unwrap();
    assert_eq!(sealer.check_mac(&rights, &restored), Ok(()));
    assert_eq!(RightsMac::from_bytes(&[0; 35]).unwrap_err(), SealError::TagLength(35));
}

/// A row of the domain: who may what.
#[derive(Clone, Debug, PartialEq)]
struct Grantee {
    scope: String,
    version: i64,
}

impl Rights for Grantee {
    const TABLE: &'static str = "grantees";

    fn row(&self) -> [u8; 16] {
        [9; 16]
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn columns(&self, row: Canonical) -> Canonical {
        row.text("scope", self.scope.as_str())
    }
}

#[test]
fn a_row_that_was_widened_is_never_signed_anew_and_named_until_it_fits_again() {
    let sealer = sealer();
    let honest = Grantee { scope: "one".into(), version: 3 };
    let guarded = sealer.guard(honest.clone());
    rotate(&sealer);
    let widened = |scope: &str, version: i64, mac: Vec<u8>| {
        Guarded::new(Grantee { scope: scope.into(), version }, mac)
    };
    let mac = guarded.mac().to_vec();
    let mut other_term = mac.clone();
    other_term[3] = 2;
    // Without the check a re-seal would make any of these genuine.
    for row in [
        widened("all", 3, mac.clone()),
        widened("one", 4, mac.clone()),
        widened("one", 3, other_term),
        widened("one", 3, vec![0; 36]),
        widened("one", 3, Vec::new()),
    ] {
        assert!(sealer.resign(row).is_err());
        assert_eq!(sealer.refused(), [RefusedRow::new("grantees", "mac", [9; 16])]);
    }
    let new = sealer.resign(guarded).unwrap().unwrap();
    assert!(sealer.refused().is_empty(), "it fits again");
    assert_eq!(new.term(), 2);
    let moved = Guarded::new(honest.clone(), new.as_bytes().to_vec());
    assert!(sealer.resign(moved.clone()).unwrap().is_none(), "it is under the active term");
    sealer.adopt(sealer.keyring().without_term(1).unwrap());
    assert_eq!(sealer.admit(moved), Ok(honest));
    let old = widened("one", 3, mac);
    assert_eq!(sealer.admit(old), Err(SealError::UnknownTerm(1)), "nor can it be put back");
}
