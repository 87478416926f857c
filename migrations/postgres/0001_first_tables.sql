-- The first tables. Times are milliseconds since 1970 (UTC), ids are the 16 bytes of a UUID version 7, flags are 0 or 1,
-- lists and maps are JSON text. `mac` is the keyed hash over the columns of a row that grant rights; `sealed`,
-- `refresh_token`, `verifier`, `nonce` and `answer` are ciphertext bound to table, column and row.

-- Which instance this is: part of what every sealed value is bound to.
create table instance (
    one bigint not null primary key check (one = 1),
    id bytea not null check (length(id) = 16),
    created_at bigint not null
);

-- The keys, each sealed by the key-encryption key.
create table keyring (
    term bigint not null primary key check (term > 0),
    sealed bytea not null,
    kek_id text collate "C" not null,
    active bigint not null check (active in (0, 1))
);

-- Rises in the transaction of every change of rights.
create table rights_epoch (
    one bigint not null primary key check (one = 1),
    epoch bigint not null
);

insert into rights_epoch (one, epoch) values (1, 0);

create table projects (
    name text collate "C" not null primary key,
    created_at bigint not null
);

insert into projects (name, created_at) values ('default', 0);

-- OAuth applications.
create table apps (
    id bytea not null primary key check (length(id) = 16),
    project text collate "C" not null references projects (name),
    name text collate "C" not null,
    display_name text collate "C" not null,
    preset text collate "C" not null,
    authority text collate "C" not null,
    client_id text collate "C" not null,
    client_auth text collate "C" not null,
    endpoints text collate "C" not null,
    base_scopes text collate "C" not null,
    extra_scopes text collate "C" not null,
    skip_scopes text collate "C" not null,
    mail_hosts text collate "C" not null,
    return_uris text collate "C" not null,
    rotation text collate "C" not null,
    disabled bigint not null check (disabled in (0, 1)),
    health text collate "C" not null check (health in ('unknown', 'accepted', 'rejected')),
    health_since bigint not null,
    health_code text collate "C" not null,
    version bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    mac bytea not null
);

create unique index apps_by_name on apps (project, name);

create table app_secrets (
    id bytea not null primary key check (length(id) = 16),
    app bytea not null references apps (id) on delete cascade,
    sealed bytea not null,
    active bigint not null check (active in (0, 1)),
    created_at bigint not null,
    expires_at bigint
);

create index app_secrets_by_app on app_secrets (app);
create unique index app_secrets_one_active on app_secrets (app) where active = 1;

-- Mailboxes. The lease columns let one broker at a time refresh one (by the database's clock); `due_at` is when.
create table accounts (
    id bytea not null primary key check (length(id) = 16),
    project text collate "C" not null references projects (name),
    name text collate "C" not null,
    mailbox text collate "C" not null,
    sasl_user text collate "C" not null,
    display_name text collate "C" not null,
    app bytea not null references apps (id),
    labels text collate "C" not null,
    subject text collate "C" not null,
    authority text collate "C" not null,
    disabled bigint not null check (disabled in (0, 1)),
    standing text collate "C" not null,
    provider_code text collate "C" not null,
    provider_message text collate "C" not null,
    version bigint not null,
    refreshed_at bigint,
    created_at bigint not null,
    updated_at bigint not null,
    mac bytea not null,
    due_at bigint,
    lease_owner text collate "C" not null default '',
    lease_fence bigint not null default 0,
    lease_until bigint not null default 0
);

create unique index accounts_by_name on accounts (project, name);
create unique index accounts_by_mailbox on accounts (project, mailbox);
create index accounts_by_app on accounts (app);
create index accounts_by_due on accounts (due_at) where due_at is not null;

-- Refresh tokens in generations; rows are added and pruned, never overwritten.
create table grants (
    id bytea not null primary key check (length(id) = 16),
    account bytea not null references accounts (id) on delete cascade,
    generation bigint not null check (generation > 0),
    parent bigint not null,
    refresh_token bytea,
    received_at bigint not null,
    proven bigint not null check (proven in (0, 1))
);

create unique index grants_by_account on grants (account, generation);

create table access_tokens (
    id bytea not null primary key check (length(id) = 16),
    account bytea not null references accounts (id) on delete cascade,
    audience text collate "C" not null,
    generation bigint not null,
    sealed bytea not null,
    token_type text collate "C" not null,
    scopes text collate "C" not null,
    issued_at bigint not null,
    expires_at bigint not null,
    fingerprint bytea not null,
    rejected bigint not null check (rejected in (0, 1))
);

create unique index access_tokens_by_account on access_tokens (account, audience);

-- Written before the provider is called, closed after. One that is open after a crash is a token in doubt.
create table refresh_attempts (
    id bytea not null primary key check (length(id) = 16),
    account bytea not null references accounts (id) on delete cascade,
    audience text collate "C" not null,
    generation bigint not null,
    owner text collate "C" not null,
    started_at bigint not null,
    ended_at bigint,
    outcome text collate "C" not null,
    code text collate "C" not null
);

create index refresh_attempts_by_account on refresh_attempts (account, audience, started_at);
create index refresh_attempts_by_start on refresh_attempts (started_at);
create index refresh_attempts_open on refresh_attempts (started_at) where ended_at is null;

-- Consents on their way. What a browser brings is kept as keyed hashes; empty means not yet, or not used.
create table consents (
    id bytea not null primary key check (length(id) = 16),
    project text collate "C" not null references projects (name),
    name text collate "C" not null,
    app bytea not null references apps (id) on delete cascade,
    account bytea references accounts (id) on delete set null,
    account_name text collate "C" not null,
    labels text collate "C" not null,
    mode text collate "C" not null,
    state text collate "C" not null,
    expected_mailbox text collate "C",
    requester text collate "C" not null,
    return_uri text collate "C" not null,
    redirect_uri text collate "C" not null,
    ticket_hash bytea not null,
    state_hash bytea not null,
    cookie_hash bytea not null,
    finish_hash bytea not null,
    verifier bytea,
    nonce bytea,
    answer bytea,
    failure text collate "C" not null,
    created_by text collate "C" not null,
    created_at bigint not null,
    expires_at bigint not null
);

create unique index consents_by_name on consents (project, name);
create unique index consents_by_ticket on consents (ticket_hash) where length(ticket_hash) > 0;
create unique index consents_by_state on consents (state_hash) where length(state_hash) > 0;
create index consents_by_app on consents (app);
create index consents_by_account on consents (account);
create index consents_by_end on consents (expires_at);

-- Proxy credentials: generated passwords, as keyed hashes.
create table credentials (
    id bytea not null primary key check (length(id) = 16),
    key_id text collate "C" not null,
    account bytea not null references accounts (id) on delete cascade,
    description text collate "C" not null,
    protocols text collate "C" not null,
    ip_ranges text collate "C" not null,
    expires_at bigint,
    revoked_at bigint,
    secret_hash bytea not null,
    successor text collate "C" not null,
    version bigint not null,
    created_at bigint not null,
    last_used_at bigint,
    last_used_from text collate "C" not null,
    mac bytea not null
);

create unique index credentials_by_key on credentials (key_id);
create index credentials_by_account on credentials (account, key_id);

create table callers (
    id bytea not null primary key check (length(id) = 16),
    project text collate "C" not null references projects (name),
    name text collate "C" not null,
    display_name text collate "C" not null,
    role text collate "C" not null,
    rights text collate "C" not null,
    protocols text collate "C" not null,
    ip_ranges text collate "C" not null,
    revoked_at bigint,
    version bigint not null,
    created_at bigint not null,
    mac bytea not null
);

create unique index callers_by_name on callers (project, name);

create table caller_keys (
    id bytea not null primary key check (length(id) = 16),
    key_id text collate "C" not null,
    caller bytea not null references callers (id) on delete cascade,
    secret_hash bytea not null,
    expires_at bigint,
    revoked_at bigint,
    created_at bigint not null,
    last_used_at bigint,
    mac bytea not null
);

create unique index caller_keys_by_key on caller_keys (key_id);
create index caller_keys_by_caller on caller_keys (caller);

-- Accepted logins at the adapters.
create table mail_sessions (
    id bytea not null primary key check (length(id) = 16),
    adapter bytea not null references callers (id) on delete cascade,
    credential bytea not null references credentials (id) on delete cascade,
    account bytea not null references accounts (id) on delete cascade,
    protocol text collate "C" not null,
    client_address text collate "C" not null,
    opened_at bigint not null,
    ended_at bigint,
    renewals bigint not null,
    upstream text collate "C" not null,
    bytes_up bigint not null,
    bytes_down bigint not null
);

create index mail_sessions_by_adapter on mail_sessions (adapter);
create index mail_sessions_by_credential on mail_sessions (credential);
create index mail_sessions_by_account on mail_sessions (account);
create index mail_sessions_by_opening on mail_sessions (opened_at);

-- What was handed out, changed and refused. It names things by text: records outlive what they are about.
create table audit (
    sequence bigint not null primary key,
    at bigint not null,
    what text collate "C" not null,
    project text collate "C" not null,
    actor text collate "C" not null,
    account text collate "C" not null,
    subject text collate "C" not null,
    granted bigint not null check (granted in (0, 1)),
    reason bigint not null,
    address text collate "C" not null,
    detail text collate "C" not null,
    hash bytea not null
);

create index audit_by_project on audit (project, sequence);
create index audit_by_account on audit (project, account, sequence);

-- The newest record, so that the next one can be numbered and chained without a look at the log.
create table audit_head (
    one bigint not null primary key check (one = 1),
    sequence bigint not null,
    hash bytea not null
);

insert into audit_head (one, sequence, hash) values (1, 0, '');
