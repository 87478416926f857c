-- What the refresh needs to know of an account, apart from what grants rights: it changes with every refresh, so it has a
-- narrow table of its own. The columns of the same names in `accounts` are not used any more.
create table refreshes (
    account blob not null primary key references accounts (id) on delete cascade check (length(account) = 16),
    app blob not null,
    due_at integer,
    lease_owner text not null default '',
    lease_fence integer not null default 0,
    lease_until integer not null default 0,
    failures integer not null default 0,
    not_before integer not null default 0,
    refreshed_at integer,
    tried_at integer,
    class text not null default '',
    code text not null default ''
) strict;

-- Due at once: the broker looks at each and says when it is really due.
insert into refreshes (account, app, due_at, refreshed_at)
    select id, app, case when standing = 'active' then 0 end, refreshed_at from accounts;

create index refreshes_by_due on refreshes (app, due_at) where due_at is not null;
drop index accounts_by_due;

-- A provider that refuses an app, or asks for silence, is left alone until `retry_at`, by all brokers and over restarts.
alter table apps add column retry_at integer not null default 0;
alter table apps add column refusals integer not null default 0;

-- `carried`: the token is the parent's, the answer brought none. `refusals`: how often the provider called it dead.
alter table grants add column ends_at integer;
alter table grants add column carried integer not null default 0 check (carried in (0, 1));
alter table grants add column refusals integer not null default 0;

-- When it, or one before it, was last handed out; coarse, for the schedule.
alter table access_tokens add column used_at integer;

create index refresh_attempts_in_doubt on refresh_attempts (account, generation) where outcome in ('', 'lost');
