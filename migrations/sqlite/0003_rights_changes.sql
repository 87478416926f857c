-- What each step of the rights epoch was about, so that a decision made on rights of an older epoch is judged again only if
-- one of its own changed, and so that an adapter which was away learns what it missed. The newest 100,000 are kept.
create table rights_changes (
    epoch integer not null primary key,
    kind text not null,
    subject blob not null check (length(subject) = 16)
) strict;
