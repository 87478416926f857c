-- What a caller may show instead of an API key, as JSON, and the least time between two tokens of one account. Both are
-- covered by the row's keyed hash, unless they are as they are here: a row of an older broker keeps its hash.
alter table callers add column identities text collate "C" not null default '[]';
alter table callers add column min_interval bigint not null default 0;

-- Only where to look: whoever is found here is believed by the row of `callers` alone.
create table caller_identities (
    lookup text collate "C" not null,
    caller bytea not null references callers (id) on delete cascade check (length(caller) = 16),
    primary key (lookup, caller)
);

create index caller_identities_by_caller on caller_identities (caller);
