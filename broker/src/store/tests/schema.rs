//! The two engines are twins: same tables, same columns, every statement understood by both.

use std::collections::BTreeSet;

use sqlx::{Executor, SqlSafeStr};

use super::engines::{Home, each_engine};
use crate::store::engine::{Conn, Wire, all};
use crate::store::*;

/// Every SQL text of the room, by the file it stands in.
const STATEMENTS: &[(&str, &[(&str, &str)])] = &[
    ("access_tokens", access_tokens::STATEMENTS),
    ("accounts", accounts::STATEMENTS),
    ("apps", apps::STATEMENTS),
    ("attempts", attempts::STATEMENTS),
    ("audit", audit::STATEMENTS),
    ("callers", callers::STATEMENTS),
    ("chains", chains::STATEMENTS),
    ("consents", consents::STATEMENTS),
    ("credentials", credentials::STATEMENTS),
    ("epoch", epoch::STATEMENTS),
    ("giving_back", giving_back::STATEMENTS),
    ("grants", grants::STATEMENTS),
    ("keys", keys::STATEMENTS),
    ("ledger", ledger::STATEMENTS),
    ("open_sessions", open_sessions::STATEMENTS),
    ("pressure", pressure::STATEMENTS),
    ("projects", projects::STATEMENTS),
    ("refreshes", refreshes::STATEMENTS),
    ("replicas", replicas::STATEMENTS),
    ("reseal", reseal::STATEMENTS),
    ("sessions", sessions::STATEMENTS),
    ("status", status::STATEMENTS),
    ("terms", terms::STATEMENTS),
];

each_engine! {
    async fn every_statement_prepares(home) {
        let store = home.open().await;
        let mut conn = store.read().await.unwrap();
        let made = audit::made(&conn).chain(sessions::made(&conn)).map(|text| ("many", ("made", text)));
        let declared = STATEMENTS.iter().flat_map(|(file, all)| all.iter().map(move |one| (*file, *one)));
        for (file, (name, text)) in declared.chain(made) {
            {
                let text = text.into_sql_str();
                let prepared = match &mut conn.0 {
                    Wire::Sqlite(conn) => conn.prepare(text).await.map(drop),
                    Wire::Postgres(conn) => conn.prepare(text).await.map(drop),
                };
                prepared.unwrap_or_else(|error| panic!("{file}.rs {name}: {error}"));
            }
        }
    }
}

#[test]
fn every_file_that_declares_statements_is_prepared() {
    let room = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let declares = |path: &std::path::Path| {
        path.extension().is_some_and(|kind| kind == "rs")
            && ["\nstatements! {", "\nkinds! {"]
                .iter()
                .any(|text| std::fs::read_to_string(path).unwrap().contains(text))
    };
    let files = std::fs::read_dir(room).unwrap().map(|entry| entry.unwrap().path());
    let declared: BTreeSet<_> = files
        .filter(|path| declares(path))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let listed: BTreeSet<_> = STATEMENTS.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(declared, listed);
}

#[tokio::test]
async fn twins_have_the_same_tables_and_columns() {
    let Some(postgres) = Home::postgres().await else { return };
    let sqlite = columns(&mut Home::sqlite().open().await.read().await.unwrap()).await;
    let postgres = columns(&mut postgres.open().await.read().await.unwrap()).await;
    assert!(sqlite.len() > 100, "{}", sqlite.len());
    assert_eq!(sqlite, postgres);
}

/// (table, column, type in the words of SQLite, whether it may be null)
async fn columns(conn: &mut Conn) -> BTreeSet<(String, String, String, i64)> {
    let text = match conn.0 {
        Wire::Sqlite(_) => {
            "select tables.name, columns.name, lower(columns.type), 1 - columns.\"notnull\"
            from sqlite_schema as tables, pragma_table_info(tables.name) as columns
            where tables.type = 'table' and tables.name not like '\\_%' escape '\\'"
        }
        Wire::Postgres(_) => {
            "select table_name::text, column_name::text, case data_type when 'bigint' then 'integer'
            when 'bytea' then 'blob' else data_type::text end,
            case is_nullable when 'YES' then 1::bigint else 0::bigint end
            from information_schema.columns
            where table_schema = 'public' and table_name not like '\\_%'"
        }
    };
    all!(conn, text => (String, String, String, i64)).unwrap().into_iter().collect()
}
