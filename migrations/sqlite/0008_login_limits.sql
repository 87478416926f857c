-- How much a credential may be used; null is no limit.
alter table credentials add column max_sessions integer;
alter table credentials add column logins_per_minute integer;

-- What each broker counts of refused logins, for the others: `subject` is `credential:..`, `network:..` or `adapter:..`. Each
-- broker replaces its own rows every second while it refuses logins, and old ones count for nothing.
create table login_pressure (
    replica text not null,
    subject text not null,
    thousandths integer not null,
    at integer not null,
    primary key (replica, subject)
) strict;

create index login_pressure_by_time on login_pressure (at);

-- How many logins a credential had lately.
create index mail_sessions_by_login on mail_sessions (credential, opened_at);
drop index mail_sessions_by_credential;
