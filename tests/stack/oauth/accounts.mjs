// Everybody with an address in the test domain has an account; its password is `pw-` and the local part.
// The subject is opaque on purpose: who takes `sub` for the mailbox must fail here.
import { fixed } from './settings.mjs';

const disabled = new Set();

export const subjectOf = (email) => `u_${Buffer.from(email.toLowerCase()).toString('hex')}`;
export const emailOf = (subject) => (/^u_([0-9a-f]{2})+$/.test(subject) ? Buffer.from(subject.slice(2), 'hex').toString() : undefined);
export const passwordOf = (email) => `pw-${email.split('@')[0]}`;

export function exists(email) {
  const [local, domain, ...more] = String(email || '').toLowerCase().split('@');
  return Boolean(local) && domain === fixed.domain && more.length === 0 && !disabled.has(email.toLowerCase());
}

// A disabled account cannot sign in, and its refresh tokens get invalid_grant.
export function setActive(email, active) {
  if (active) disabled.delete(email.toLowerCase());
  else disabled.add(email.toLowerCase());
  return [...disabled];
}

export const activateAll = () => disabled.clear();
