-- How much a credential may be used; null is no limit.
alter table credentials add column max_sessions bigint;
alter table credentials add column logins_per_minute bigint;

-- What each broker counts of refused logins, for the others: `subject` is `credential:..`, `network:..` or `adapter:..`. Each
-- broker replaces its own rows every second while it refuses logins, and old ones count for nothing.
create table login_pressure (
    replica text collate "C" not null,
    subject text collate "C" not null,
    thousandths bigint not null,
    at bigint not null,
    primary key (replica, subject)
);

create index login_pressure_by_time on login_pressure (at);

-- How many logins a credential had lately.
create index mail_sessions_by_login on mail_sessions (credential, opened_at);
drop index mail_sessions_by_credential;
