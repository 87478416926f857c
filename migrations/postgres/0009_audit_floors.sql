-- Where each chain of the audit begins, after retention removed what was before: the newest record that is gone. A chain
-- that is not here begins with its first record.
create table audit_floors (
    chain text collate "C" not null primary key,
    sequence bigint not null,
    hash bytea not null
);
