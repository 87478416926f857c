-- Brokers that share this database. Each says every few seconds that it lives, by the database's clock, and what it knows of
-- the keys; one that stops takes its row away. `known_term` is the newest term it can open, `needed_term` the oldest that
-- something on its own disk still needs (0 for none), `kek_ids` the key-encryption keys it can read; `active_since` is when it
-- first said that it seals under `active_term`.
create table replicas (
    name text not null primary key,
    version text not null,
    started_at integer not null,
    seen_at integer not null,
    draining integer not null check (draining in (0, 1)),
    active_term integer not null,
    active_since integer not null,
    known_term integer not null,
    needed_term integer not null,
    kek_ids text not null
) strict;

-- The newest re-seal: where it is to end, who is at it (by the database's clock), and how far it is.
create table reseal (
    one integer not null primary key check (one = 1),
    term integer not null,
    owner text not null,
    lease_until integer not null,
    started_at integer not null,
    ended_at integer,
    total integer not null,
    done integer not null,
    refused integer not null,
    refused_rows text not null
) strict;

-- What is under which key term, without reading a row: sealed values have the term in bytes 3 to 6, keyed tags in 1 to 4.
create index app_secrets_by_term on app_secrets (substr(sealed, 3, 4), id);
create index grants_by_term on grants (substr(refresh_token, 3, 4), id);
create index access_tokens_by_term on access_tokens (substr(sealed, 3, 4), id);
create index consents_by_verifier_term on consents (substr(verifier, 3, 4), id);
create index consents_by_nonce_term on consents (substr(nonce, 3, 4), id);
create index consents_by_answer_term on consents (substr(answer, 3, 4), id);
create index apps_by_term on apps (substr(mac, 1, 4), id);
create index accounts_by_term on accounts (substr(mac, 1, 4), id);
create index credentials_by_term on credentials (substr(mac, 1, 4), id);
create index callers_by_term on callers (substr(mac, 1, 4), id);
create index caller_keys_by_term on caller_keys (substr(mac, 1, 4), id);
create index credentials_by_hash_term on credentials (substr(secret_hash, 1, 4), id);
create index caller_keys_by_hash_term on caller_keys (substr(secret_hash, 1, 4), id);
