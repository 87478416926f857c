-- Since when an account's grant is being given back to its provider: from the revocation until the provider has confirmed it.
alter table accounts add column giving_back_since integer;

create index accounts_giving_back on accounts (id) where giving_back_since is not null;
