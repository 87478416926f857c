-- A relayed session outlives the rows it was opened with: as long as an adapter relays it, the broker has to know that it must
-- end. So nothing cascades to it any more; what was removed leaves its name behind. SQLite drops a constraint by copying.
--
-- `end_reason`: why it ended. `end_wanted`: an operator asked for its end. `heard_at`: when its adapter told of it last.
-- `project` and the names are filled when what they name is removed.
create table mail_sessions_next (
    id blob not null primary key check (length(id) = 16),
    adapter blob not null,
    credential blob not null,
    account blob not null,
    protocol text not null,
    client_address text not null,
    opened_at integer not null,
    ended_at integer,
    renewals integer not null,
    upstream text not null,
    bytes_up integer not null,
    bytes_down integer not null,
    end_reason text not null default '',
    end_wanted integer not null default 0 check (end_wanted in (0, 1)),
    heard_at integer,
    project text not null default '',
    account_name text not null default '',
    credential_key text not null default '',
    adapter_name text not null default ''
) strict;

insert into mail_sessions_next (id, adapter, credential, account, protocol, client_address, opened_at, ended_at, renewals,
        upstream, bytes_up, bytes_down)
    select id, adapter, credential, account, protocol, client_address, opened_at, ended_at, renewals, upstream, bytes_up,
        bytes_down from mail_sessions;

drop table mail_sessions;
alter table mail_sessions_next rename to mail_sessions;

create index mail_sessions_by_adapter on mail_sessions (adapter);
create index mail_sessions_by_credential on mail_sessions (credential);
create index mail_sessions_by_account on mail_sessions (account);
create index mail_sessions_by_opening on mail_sessions (opened_at);
create index mail_sessions_open on mail_sessions (adapter, id) where ended_at is null;
create index credentials_by_end on credentials (expires_at) where expires_at is not null;
