-- Each broker chains what it hands out by itself, so that brokers which share a database commit their decisions without
-- waiting for each other. What was recorded so far, and every change since, is the chain without a name.
create table audit_chained (
    chain text not null default '',
    sequence integer not null,
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
    hash blob not null,
    primary key (chain, sequence)
) strict, without rowid;

insert into audit_chained (chain, sequence, at, what, project, actor, account, subject, granted, reason, address, detail, hash)
    select '', sequence, at, what, project, actor, account, subject, granted, reason, address, detail, hash
    from audit order by sequence;
drop table audit;
alter table audit_chained rename to audit;

create index audit_by_project on audit (project, at, chain, sequence);
create index audit_by_account on audit (project, account, at, chain, sequence);

-- Where each chain with a name ends; the one without has `audit_head`.
create table audit_chains (
    chain text not null primary key check (chain <> ''),
    sequence integer not null,
    hash blob not null
) strict;
