-- Each broker chains what it hands out by itself, so that brokers which share a database commit their decisions without
-- waiting for each other. What was recorded so far, and every change since, is the chain without a name.
alter table audit add column chain text collate "C" not null default '';
alter table audit drop constraint audit_pkey;
alter table audit add primary key (chain, sequence);

drop index audit_by_project;
drop index audit_by_account;
create index audit_by_project on audit (project, at, chain, sequence);
create index audit_by_account on audit (project, account, at, chain, sequence);

-- Where each chain with a name ends; the one without has `audit_head`.
create table audit_chains (
    chain text collate "C" not null primary key check (chain <> ''),
    sequence bigint not null,
    hash bytea not null
);
