-- The first tables. Times are milliseconds since 1970 (UTC), ids are the 16 bytes of a UUID version 7, flags are 0 or 1,
-- lists and maps are JSON text. `mac` is the keyed hash over the columns of a row that grant rights; `sealed`,
-- `refresh_token`, `verifier`, `nonce` and `answer` are ciphertext bound to table, column and row.

-- Which instance this is: part of what every sealed value is bound to.
create table instance (
    one integer not null primary key check (one = 1),
    id blob not null check (length(id) = 16),
    created_at integer not null
) strict;

-- The keys, each sealed by the key-encryption key.
create table keyring (
    term integer not null primary key check (term > 0),
    sealed blob not null,
    kek_id text not null,
    active integer not null check (active in (0, 1))
) strict;

-- Rises in the transaction of every change of rights.
create table rights_epoch (
    one integer not null primary key check (one = 1),
    epoch integer not null
) strict;

insert into rights_epoch (one, epoch) values (1, 0);

create table projects (
    name text not null primary key,
    created_at integer not null
) strict;

insert into projects (name, created_at) values ('default', 0);

-- OAuth applications.
create table apps (
    id blob not null primary key check (length(id) = 16),
    project text not null references projects (name),
    name text not null,
    display_name text not null,
    preset text not null,
    authority text not null,
    client_id text not null,
    client_auth text not null,
    endpoints text not null,
    base_scopes text not null,
    extra_scopes text not null,
    skip_scopes text not null,
    mail_hosts text not null,
    return_uris text not null,
    rotation text not null,
    disabled integer not null check (disabled in (0, 1)),
    health text not null check (health in ('unknown', 'accepted', 'rejected')),
    health_since integer not null,
    health_code text not null,
    version integer not null,
    created_at integer not null,
    updated_at integer not null,
    mac blob not null
) strict;

create unique index apps_by_name on apps (project, name);

create table app_secrets (
    id blob not null primary key check (length(id) = 16),
    app blob not null references apps (id) on delete cascade,
    sealed blob not null,
    active integer not null check (active in (0, 1)),
    created_at integer not null,
    expires_at integer
) strict;

create index app_secrets_by_app on app_secrets (app);
create unique index app_secrets_one_active on app_secrets (app) where active = 1;

-- Mailboxes. The lease columns let one broker at a time refresh one (by the database's clock); `due_at` is when.
create table accounts (
    id blob not null primary key check (length(id) = 16),
    project text not null references projects (name),
    name text not null,
    mailbox text not null,
    sasl_user text not null,
    display_name text not null,
    app blob not null references apps (id),
    labels text not null,
    subject text not null,
    authority text not null,
    disabled integer not null check (disabled in (0, 1)),
    standing text not null,
    provider_code text not null,
    provider_message text not null,
    version integer not null,
    refreshed_at integer,
    created_at integer not null,
    updated_at integer not null,
    mac blob not null,
    due_at integer,
    lease_owner text not null default '',
    lease_fence integer not null default 0,
    lease_until integer not null default 0
) strict;

create unique index accounts_by_name on accounts (project, name);
create unique index accounts_by_mailbox on accounts (project, mailbox);
create index accounts_by_app on accounts (app);
create index accounts_by_due on accounts (due_at) where due_at is not null;

-- Refresh tokens in generations; rows are added and pruned, never overwritten.
create table grants (
    id blob not null primary key check (length(id) = 16),
    account blob not null references accounts (id) on delete cascade,
    generation integer not null check (generation > 0),
    parent integer not null,
    refresh_token blob,
    received_at integer not null,
    proven integer not null check (proven in (0, 1))
) strict;

create unique index grants_by_account on grants (account, generation);

create table access_tokens (
    id blob not null primary key check (length(id) = 16),
    account blob not null references accounts (id) on delete cascade,
    audience text not null,
    generation integer not null,
    sealed blob not null,
    token_type text not null,
    scopes text not null,
    issued_at integer not null,
    expires_at integer not null,
    fingerprint blob not null,
    rejected integer not null check (rejected in (0, 1))
) strict;

create unique index access_tokens_by_account on access_tokens (account, audience);

-- Written before the provider is called, closed after. One that is open after a crash is a token in doubt.
create table refresh_attempts (
    id blob not null primary key check (length(id) = 16),
    account blob not null references accounts (id) on delete cascade,
    audience text not null,
    generation integer not null,
    owner text not null,
    started_at integer not null,
    ended_at integer,
    outcome text not null,
    code text not null
) strict;

create index refresh_attempts_by_account on refresh_attempts (account, audience, started_at);
create index refresh_attempts_by_start on refresh_attempts (started_at);
create index refresh_attempts_open on refresh_attempts (started_at) where ended_at is null;

-- Consents on their way. What a browser brings is kept as keyed hashes; empty means not yet, or not used.
create table consents (
    id blob not null primary key check (length(id) = 16),
    project text not null references projects (name),
    name text not null,
    app blob not null references apps (id) on delete cascade,
    account blob references accounts (id) on delete set null,
    account_name text not null,
    labels text not null,
    mode text not null,
    state text not null,
    expected_mailbox text,
    requester text not null,
    return_uri text not null,
    redirect_uri text not null,
    ticket_hash blob not null,
    state_hash blob not null,
    cookie_hash blob not null,
    finish_hash blob not null,
    verifier blob,
    nonce blob,
    answer blob,
    failure text not null,
    created_by text not null,
    created_at integer not null,
    expires_at integer not null
) strict;

create unique index consents_by_name on consents (project, name);
create unique index consents_by_ticket on consents (ticket_hash) where length(ticket_hash) > 0;
create unique index consents_by_state on consents (state_hash) where length(state_hash) > 0;
create index consents_by_app on consents (app);
create index consents_by_account on consents (account);
create index consents_by_end on consents (expires_at);

-- Proxy credentials: generated passwords, as keyed hashes.
create table credentials (
    id blob not null primary key check (length(id) = 16),
    key_id text not null,
    account blob not null references accounts (id) on delete cascade,
    description text not null,
    protocols text not null,
    ip_ranges text not null,
    expires_at integer,
    revoked_at integer,
    secret_hash blob not null,
    successor text not null,
    version integer not null,
    created_at integer not null,
    last_used_at integer,
    last_used_from text not null,
    mac blob not null
) strict;

create unique index credentials_by_key on credentials (key_id);
create index credentials_by_account on credentials (account, key_id);

create table callers (
    id blob not null primary key check (length(id) = 16),
    project text not null references projects (name),
    name text not null,
    display_name text not null,
    role text not null,
    rights text not null,
    protocols text not null,
    ip_ranges text not null,
    revoked_at integer,
    version integer not null,
    created_at integer not null,
    mac blob not null
) strict;

create unique index callers_by_name on callers (project, name);

create table caller_keys (
    id blob not null primary key check (length(id) = 16),
    key_id text not null,
    caller blob not null references callers (id) on delete cascade,
    secret_hash blob not null,
    expires_at integer,
    revoked_at integer,
    created_at integer not null,
    last_used_at integer,
    mac blob not null
) strict;

create unique index caller_keys_by_key on caller_keys (key_id);
create index caller_keys_by_caller on caller_keys (caller);

-- Accepted logins at the adapters.
create table mail_sessions (
    id blob not null primary key check (length(id) = 16),
    adapter blob not null references callers (id) on delete cascade,
    credential blob not null references credentials (id) on delete cascade,
    account blob not null references accounts (id) on delete cascade,
    protocol text not null,
    client_address text not null,
    opened_at integer not null,
    ended_at integer,
    renewals integer not null,
    upstream text not null,
    bytes_up integer not null,
    bytes_down integer not null
) strict;

create index mail_sessions_by_adapter on mail_sessions (adapter);
create index mail_sessions_by_credential on mail_sessions (credential);
create index mail_sessions_by_account on mail_sessions (account);
create index mail_sessions_by_opening on mail_sessions (opened_at);

-- What was handed out, changed and refused. It names things by text: records outlive what they are about.
create table audit (
    sequence integer not null primary key,
    at integer not null,
    what text not null,
    project text not null,
    actor text not null,
    account text not null,
    subject text not null,
    granted integer not null check (granted in (0, 1)),
    reason integer not null,
    address text not null,
    detail text not null,
    hash blob not null
) strict;

create index audit_by_project on audit (project, sequence);
create index audit_by_account on audit (project, account, sequence);

-- The newest record, so that the next one can be numbered and chained without a look at the log.
create table audit_head (
    one integer not null primary key check (one = 1),
    sequence integer not null,
    hash blob not null
) strict;

insert into audit_head (one, sequence, hash) values (1, 0, x'');
