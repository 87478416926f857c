//! Instance, keyring, projects, apps and their secrets.

use super::engines::each_engine;
use super::samples::*;
use crate::domain::app::{App, AppHealth};
use crate::store::{Error, Instance, KeyTerm, PageRequest};

each_engine! {
    async fn the_instance_is_made_once(home) {
        let store = home.open().await;
        let instance = Instance { id: [9; 16], created_at: NOW };
        assert_eq!(store.read().await.unwrap().instance().await, Ok(None));
        let create = || store.write(move |tx| Box::pin(async move { tx.create_instance(&instance).await }));
        create().await.unwrap();
        assert!(matches!(create().await, Err(Error::Conflict { .. })));
        assert_eq!(store.read().await.unwrap().instance().await, Ok(Some(instance)));
    }

    async fn the_keyring_is_replaced_as_a_whole(home) {
        let store = home.open().await;
        let term = |term, active| KeyTerm { term, sealed: sealed("key"), kek_id: "kek".into(), active };
        let (one, two) = (vec![term(1, true)], vec![term(2, false), term(3, true)]);
        let expected = two.clone();
        store.write(move |tx| Box::pin(async move { tx.replace_keyring(&one).await })).await.unwrap();
        store.write(move |tx| Box::pin(async move { tx.replace_keyring(&two).await })).await.unwrap();
        assert_eq!(store.read().await.unwrap().keyring().await.unwrap(), expected);
    }

    async fn an_app_comes_back_as_it_was_stored(home) {
        let store = home.open().await;
        let (app, _) = settled(&store).await;
        let mut conn = store.read().await.unwrap();
        let read = conn.app(app.id).await.unwrap().unwrap();
        assert_eq!((read.unchecked(), read.mac()), (&app, [7; 32].as_slice()));
        let named = conn.app_by_name(&project(), &app.name).await.unwrap().unwrap();
        assert_eq!(named.unchecked(), &app);
        assert!(conn.app_by_name(&project(), &name("other")).await.unwrap().is_none());
    }

    async fn a_change_of_an_app_names_the_version_it_follows(home) {
        let store = home.open().await;
        let (before, _) = settled(&store).await;
        let mut after = app("shop");
        after.id = before.id;
        after = App {
            display_name: "Other".into(),
            client_id: "other".into(),
            client_auth: None,
            rotation: None,
            disabled: false,
            version: 2,
            updated_at: at(99),
            ..after
        };
        for expected in [Ok(()), Err(Error::Stale { what: "apps" })] {
            let change = guard(&after);
            let done = store.write(move |tx| Box::pin(async move { tx.update_app(&change).await })).await;
            assert_eq!(done, expected);
        }
        let read = store.read().await.unwrap().app(after.id).await.unwrap().unwrap();
        assert_eq!(read.unchecked(), &after);
    }

    async fn health_changes_without_a_version(home) {
        let store = home.open().await;
        let (app, _) = settled(&store).await;
        let epoch = store.read().await.unwrap().rights_epoch().await.unwrap();
        for health in [AppHealth::Accepted, AppHealth::Unknown, app.health.clone()] {
            let (id, set) = (app.id, health.clone());
            store.write(move |tx| Box::pin(async move { tx.set_app_health(id, &set).await })).await.unwrap();
            let mut conn = store.read().await.unwrap();
            assert_eq!(conn.app(id).await.unwrap().unwrap().unchecked(), &App { health, ..app.clone() });
            assert_eq!(conn.rights_epoch().await.unwrap(), epoch);
        }
    }

    async fn an_app_with_accounts_cannot_be_removed(home) {
        let store = home.open().await;
        let (app, account) = settled(&store).await;
        let remove = || store.write(move |tx| Box::pin(async move { tx.delete_app(app.id, 1).await }));
        assert!(matches!(remove().await, Err(Error::Dangling { .. })));
        store.write(move |tx| Box::pin(async move { tx.delete_account(account.id, 1).await })).await.unwrap();
        remove().await.unwrap();
        assert_eq!(remove().await, Err(Error::Stale { what: "apps" }));
    }

    async fn one_secret_of_an_app_is_active(home) {
        let store = home.open().await;
        let (app, _) = settled(&store).await;
        let (first, second) = (app_secret(&app, true), app_secret(&app, true));
        let (one, two) = (first.clone(), second.clone());
        store.write(move |tx| Box::pin(async move {
            tx.insert_app_secret(&one).await?;
            tx.insert_app_secret(&two).await
        })).await.unwrap();
        let active = || async {
            let secrets = store.read().await.unwrap().app_secrets(app.id).await.unwrap();
            secrets.into_iter().filter(|secret| secret.active).collect::<Vec<_>>()
        };
        assert_eq!(active().await[0], second);
        store.write(move |tx| Box::pin(async move {
            assert!(!tx.delete_app_secret(app.id, second.id).await?, "it is in use");
            tx.activate_app_secret(app.id, first.id).await
        })).await.unwrap();
        assert_eq!(active().await.len(), 1);
        assert_eq!(active().await[0].id, first.id);
    }

    async fn apps_are_listed_by_name_in_pages(home) {
        let store = home.open().await;
        for called in ["b", "c", "a-1", "a0", "a"] {
            let app = guard(&app(called));
            store.write(move |tx| Box::pin(async move { tx.insert_app(&app).await })).await.unwrap();
        }
        let (mut names, mut token) = (Vec::new(), String::new());
        loop {
            let page = PageRequest::new(2, &token).unwrap();
            let page = store.read().await.unwrap().apps(&project(), &page).await.unwrap();
            assert!(page.items.len() <= 2);
            names.extend(page.items.iter().map(|app| app.unchecked().name.to_string()));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(names, ["a", "a-1", "a0", "b", "c"]);
    }
}
