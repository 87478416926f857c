//! Opening a store: who may, what is refused, and how the engines are set.

use std::os::unix::fs::PermissionsExt;

use super::engines::{Home, each_engine};
use super::samples::settled;
use crate::store::engine::{Wire, maybe, run};
use crate::store::{Error, Settings, Store};
use crate::tasks::Tasks;

each_engine! {
    async fn a_store_opens_again_with_what_was_in_it(home) {
        let tasks = Tasks::new();
        let store = home.open_with(&tasks).await;
        let (app, _) = settled(&store).await;
        drop(store);
        assert!(tasks.drain(std::time::Duration::from_secs(20)).await);
        let store = home.open().await;
        assert!(store.read().await.unwrap().app(app.id).await.unwrap().is_some());
    }

    async fn a_database_of_a_newer_broker_is_left_alone(home) {
        let tasks = Tasks::new();
        let store = home.open_with(&tasks).await;
        let future = store.write(|tx| Box::pin(async move {
            run!(tx, "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                values (9999, 'from the future', true, $1, 0)"; vec![1_u8])
        }));
        assert_eq!(future.await.unwrap(), 1);
        drop(store);
        assert!(tasks.drain(std::time::Duration::from_secs(20)).await);
        let refused = Store::open(&home.settings, &Tasks::new()).await.unwrap_err();
        assert_eq!(refused, Error::NewerSchema { found: 9999, known: 4 });
    }

    async fn a_reader_cannot_write(home) {
        let store = home.open().await;
        let mut conn = store.read().await.unwrap();
        run!(conn, "update rights_epoch set epoch = 77").unwrap_err();
        assert_eq!(conn.rights_epoch().await.unwrap(), 0);
    }

    async fn a_commit_is_on_the_disk_before_it_is_acknowledged(home) {
        let store = home.open().await;
        let setting = store.write(|tx| Box::pin(async move {
            Ok(match &tx.0 {
                Wire::Sqlite(_) => maybe!(tx, "pragma synchronous" => (i64,))?.map(|one| one.0.to_string()),
                Wire::Postgres(_) => maybe!(tx, "show synchronous_commit" => (String,))?.map(|one| one.0),
            })
        })).await.unwrap().unwrap();
        assert_eq!(setting, if home.path().is_some() { "2" } else { "on" });
    }
}

#[tokio::test]
async fn sqlite_keeps_a_write_ahead_log_and_checks_references() {
    let home = Home::sqlite();
    let store = home.open().await;
    let settings = store
        .write(|tx| {
            Box::pin(async move {
                let journal = maybe!(tx, "pragma journal_mode" => (String,))?;
                Ok((journal, maybe!(tx, "pragma foreign_keys" => (i64,))?))
            })
        })
        .await
        .unwrap();
    assert_eq!(settings, (Some(("wal".to_owned(),)), Some((1,))));
}

#[tokio::test]
async fn a_second_broker_on_the_file_is_refused_by_name() {
    let home = Home::sqlite();
    let _first = home.open().await;
    let path = home.path().unwrap().to_owned();
    let refused = Store::open(&home.settings, &Tasks::new()).await.unwrap_err();
    assert_eq!(refused, Error::Locked { path: path.clone(), pid: Some(std::process::id()) });
    assert!(refused.to_string().contains(&path.display().to_string()), "{refused}");
}

#[tokio::test]
async fn only_the_owner_can_read_the_file() {
    let home = Home::sqlite();
    let path = home.path().unwrap();
    std::fs::write(path, b"").unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = home.open().await;
    settled(&store).await;
    for beside in ["", "-wal", "-shm", ".lock"] {
        let file = format!("{}{beside}", path.display());
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let home = Home::sqlite();
    let path = home.path().unwrap();
    std::fs::write(path, vec![b'x'; 8192]).unwrap();
    let refused = Store::open(&home.settings, &Tasks::new()).await.unwrap_err();
    assert!(matches!(refused, Error::Unreachable { .. } | Error::Damaged { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let path = std::path::PathBuf::from("/nonexistent/broker.db");
    let refused = Store::open(&Settings::Sqlite { path }, &Tasks::new()).await.unwrap_err();
    assert!(refused.to_string().contains("/nonexistent/broker.db"), "{refused}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_and_its_password_unsaid() {
    let url = "postgres://broker:canary@127.0.0.1:1/none".into();
    let settings = Settings::Postgres { url, max_connections: 4 };
    let refused = Store::open(&settings, &Tasks::new()).await.unwrap_err();
    assert!(matches!(refused, Error::Unreachable { .. }), "{refused:?}");
    assert!(!format!("{refused} {refused:?} {settings:?}").contains("canary"));
}
