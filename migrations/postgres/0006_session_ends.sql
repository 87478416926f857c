-- A relayed session outlives the rows it was opened with: as long as an adapter relays it, the broker has to know that it must
-- end. So nothing cascades to it any more; what was removed leaves its name behind.
alter table mail_sessions drop constraint mail_sessions_adapter_fkey;
alter table mail_sessions drop constraint mail_sessions_credential_fkey;
alter table mail_sessions drop constraint mail_sessions_account_fkey;

-- `end_reason`: why it ended. `end_wanted`: an operator asked for its end. `heard_at`: when its adapter told of it last.
alter table mail_sessions add column end_reason text collate "C" not null default '';
alter table mail_sessions add column end_wanted bigint not null default 0 check (end_wanted in (0, 1));
alter table mail_sessions add column heard_at bigint;

-- Filled when what they name is removed.
alter table mail_sessions add column project text collate "C" not null default '';
alter table mail_sessions add column account_name text collate "C" not null default '';
alter table mail_sessions add column credential_key text collate "C" not null default '';
alter table mail_sessions add column adapter_name text collate "C" not null default '';

create index mail_sessions_open on mail_sessions (adapter, id) where ended_at is null;
create index credentials_by_end on credentials (expires_at) where expires_at is not null;
