-- Where each chain of the audit begins, after retention removed what was before: the newest record that is gone. A chain
-- that is not here begins with its first record.
create table audit_floors (
    chain text not null primary key,
    sequence integer not null,
    hash blob not null
) strict;
