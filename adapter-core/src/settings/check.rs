//! How a file and flags become [`Settings`].
//!
//! Never opens a socket. Invariant: whatever would show a password or a key to others is refused here.
//! Next: back to `settings`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use token_broker_client::{Error, OptionName, Options};
use toml::Spanned;

use super::file::{File, Listener, flag};
use super::{
    BROKER, Flags, ListenerSettings, ListenerTls, LogSettings, Settings, SettingsError,
    UpstreamSettings,
};
use crate::limits::Limits;
use crate::tls::CertificateFiles;

/// Shorter, and a broker that restarts would end sessions; longer, and the broker would take them for lost.
const ORPHAN_TTL: std::ops::RangeInclusive<u32> = 5..=3600;

impl File<'_> {
    pub(super) fn check(&self, flags: &Flags) -> Result<Settings, SettingsError> {
        let certificate = self.outer.tls.as_ref().map(|tls| CertificateFiles {
            certificate: self.path(&tls.certificate),
            key: self.path(&tls.key),
        });
        Ok(Settings {
            server_name: self.server_name()?,
            listeners: self.listeners(flags)?,
            certificate,
            broker: self.broker(flags)?,
            upstream: self.upstream()?,
            ops: self.outer.ops.address.as_ref().map(|text| self.address(text)).transpose()?,
            limits: self.limits()?,
            log: self.log(flags)?,
        })
    }

    fn server_name(&self) -> Result<String, SettingsError> {
        match &self.outer.server_name {
            None => Ok("localhost".to_owned()),
            Some(name) if is_host_name(name.get_ref()) => Ok(name.get_ref().clone()),
            Some(name) => {
                self.wrong(name, "not a host name", "Write letters, digits, dots and hyphens")
            }
        }
    }

    fn upstream(&self) -> Result<UpstreamSettings, SettingsError> {
        let said = &self.outer.upstream;
        let ca_file = said.ca_file.as_ref().map(|file| self.path(file));
        let Some(name) = &said.helo_name else {
            return Ok(UpstreamSettings { ca_file, ..UpstreamSettings::default() });
        };
        if !is_host_name(name.get_ref()) && !is_address_literal(name.get_ref()) {
            let remedy = "Write a host name, or an address like [192.0.2.1] or [IPv6:2001:db8::1]";
            return self.wrong(name, "not a name for EHLO", remedy);
        }
        Ok(UpstreamSettings { ca_file, helo_name: name.get_ref().clone() })
    }

    fn listeners(&self, flags: &Flags) -> Result<Vec<ListenerSettings>, SettingsError> {
        if !flags.listen.is_empty() {
            return flags.listen.iter().map(|address| plain_listener(*address)).collect();
        }
        if self.outer.listener.is_empty() {
            return self
                .missing("listener", "Add a [[listener]] with address and tls, or --listen");
        }
        self.outer.listener.iter().map(|listener| self.listener(listener)).collect()
    }

    fn listener(&self, listener: &Listener) -> Result<ListenerSettings, SettingsError> {
        let address = self.address(&listener.address)?;
        let tls = match listener.tls.get_ref().as_str() {
            "implicit" => ListenerTls::Implicit,
            "starttls" => ListenerTls::StartTls,
            "plain" => ListenerTls::Plain,
            _ => {
                return self.wrong(
                    &listener.tls,
                    "no such mode",
                    "Write implicit, starttls or plain",
                );
            }
        };
        if tls == ListenerTls::Plain && !address.ip().is_loopback() {
            let remedy =
                "Write starttls or implicit with a [tls] certificate, or listen on 127.0.0.1";
            return self.wrong(
                &listener.tls,
                "plain text off loopback would show passwords",
                remedy,
            );
        }
        if tls != ListenerTls::Plain && self.outer.tls.is_none() {
            let remedy = "Add [tls] with certificate and key";
            return self.wrong(&listener.tls, "there is no certificate for it", remedy);
        }
        let network = |text: &Spanned<String>| -> Result<IpNet, SettingsError> {
            text.get_ref().parse().or_else(|_| {
                self.wrong(text, "not a network", "Write it like 10.0.0.0/8 or 2001:db8::/32")
            })
        };
        let proxy_protocol = listener
            .proxy_protocol
            .as_ref()
            .map(|networks| networks.iter().map(network).collect())
            .transpose()?;
        Ok(ListenerSettings { address, tls, proxy_protocol })
    }

    /// The rules are the SDK's; what is said here is where the mistake was written.
    fn broker(&self, flags: &Flags) -> Result<Options, SettingsError> {
        let written = &self.outer.broker;
        let mut endpoints: Vec<_> = match &flags.broker[..] {
            [] => written.endpoints.iter().map(|endpoint| endpoint.get_ref().as_str()).collect(),
            given => given.iter().map(String::as_str).collect(),
        };
        if endpoints.is_empty() {
            endpoints.push(BROKER);
        }
        let mut options = self.identified(flags, Options::new(endpoints[0]))?;
        for endpoint in &endpoints[1..] {
            options = options.endpoint(*endpoint);
        }
        if let Some(file) = &written.ca_file {
            options = options.ca_file(self.path(file.get_ref()));
        }
        match options.check() {
            Ok(()) => Ok(options),
            Err(error) => Err(self.not_an_option(flags, &error)),
        }
    }

    /// How the adapter says who it is: a key or token, a certificate, or both.
    fn identified(&self, flags: &Flags, options: Options) -> Result<Options, SettingsError> {
        let written = &self.outer.broker;
        let options = match (&written.client_certificate, &written.client_key) {
            (Some(certificate), Some(key)) => options
                .client_certificate(self.path(certificate.get_ref()), self.path(key.get_ref())),
            (None, None) => options,
            (Some(half), None) | (None, Some(half)) => {
                return self.wrong(
                    half,
                    "a half of a pair",
                    "Name client_certificate and client_key",
                );
            }
        };
        match (&flags.key_file, &written.key_file, &written.token_file) {
            (Some(file), _, _) => Ok(options.api_key_file(file)),
            (None, Some(_), Some(file)) => {
                self.wrong(file, "two ways to say who calls", "Name key_file or token_file")
            }
            (None, Some(file), None) => Ok(options.api_key_file(self.path(file.get_ref()))),
            (None, None, Some(file)) => Ok(options.token_file(self.path(file.get_ref()))),
            (None, None, None) if written.client_certificate.is_some() => Ok(options),
            (None, None, None) => self.missing(
                "broker.key_file",
                "Name the file with the adapter's API key (or token_file, or client_certificate and client_key)",
            ),
        }
    }

    fn not_an_option(&self, flags: &Flags, error: &Error) -> SettingsError {
        let Error::Options { option, what, remedy } = error else {
            return flag("--broker", (&error.to_string(), "See --print-sample"));
        };
        let (written, why) = (&self.outer.broker, (what.as_str(), remedy.as_str()));
        let span = match option {
            Some(OptionName::ApiKey) if flags.key_file.is_some() => return flag("--key-file", why),
            Some(OptionName::ApiKey) => {
                written.key_file.as_ref().or(written.token_file.as_ref()).map(Spanned::span)
            }
            Some(OptionName::Certificate) => written.client_certificate.as_ref().map(Spanned::span),
            Some(OptionName::CaFile) => written.ca_file.as_ref().map(Spanned::span),
            Some(OptionName::Endpoint(at)) if flags.broker.is_empty() => {
                written.endpoints.get(*at).map(Spanned::span)
            }
            _ => None,
        };
        span.map_or_else(|| flag("--broker", why), |span| self.wrong_at(&span, why))
    }

    fn limits(&self) -> Result<Limits, SettingsError> {
        let (said, usual) = (&self.outer.limits, Limits::default());
        let count = |value: &Option<Spanned<u32>>, usual: usize| match value {
            None => Ok(usual),
            Some(zero) if *zero.get_ref() == 0 => {
                self.wrong(zero, "nothing would work", "Write 1 or more")
            }
            Some(value) => Ok(usize::try_from(*value.get_ref()).unwrap_or(usize::MAX)),
        };
        let time = |value: &Option<Spanned<u32>>, usual: Duration| {
            let seconds = count(value, usize::try_from(usual.as_secs()).unwrap_or(usize::MAX))?;
            Ok(Duration::from_secs(seconds as u64))
        };
        Ok(Limits {
            tls: time(&said.tls_seconds, usual.tls)?,
            login: time(&said.login_seconds, usual.login)?,
            dial: time(&said.dial_seconds, usual.dial)?,
            upstream_login: time(&said.upstream_login_seconds, usual.upstream_login)?,
            idle: time(&said.idle_seconds, usual.idle)?,
            orphan_ttl: match &said.orphan_ttl_seconds {
                Some(value) if !ORPHAN_TTL.contains(value.get_ref()) => {
                    let remedy = "Write 5 to 3600 seconds";
                    return self.wrong(value, "not a time to do without a broker", remedy);
                }
                value => time(value, usual.orphan_ttl)?,
            },
            drain: said.drain_seconds.map_or(usual.drain, |s| Duration::from_secs(s.into())),
            connections: count(&said.connections, usual.connections)?,
            unauthenticated_per_ip: count(
                &said.unauthenticated_per_ip,
                usual.unauthenticated_per_ip,
            )?,
            attempts: match &said.attempts {
                Some(zero) if *zero.get_ref() == 0 => {
                    return self.wrong(zero, "nobody could log in", "Write 1 or more");
                }
                attempts => attempts.as_ref().map_or(usual.attempts, |value| *value.get_ref()),
            },
        })
    }

    fn log(&self, flags: &Flags) -> Result<LogSettings, SettingsError> {
        let log = &self.outer.log;
        let json = match log.format.as_ref().map(|format| (format, format.get_ref().as_str())) {
            None | Some((_, "text")) => false,
            Some((_, "json")) => true,
            Some((format, _)) => return self.wrong(format, "no such format", "Write text or json"),
        };
        let filter = flags.log.clone().or_else(|| log.level.clone());
        Ok(LogSettings { json, filter: filter.unwrap_or_else(|| "info".to_owned()) })
    }
}

fn plain_listener(address: SocketAddr) -> Result<ListenerSettings, SettingsError> {
    if !address.ip().is_loopback() {
        let remedy = "Use a [[listener]] with tls in a file for other addresses";
        return Err(flag("--listen", ("plain text off loopback would show passwords", remedy)));
    }
    Ok(ListenerSettings { address, tls: ListenerTls::Plain, proxy_protocol: None })
}

fn is_host_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    (1..=253).contains(&text.len()) && text.bytes().all(fits)
}

fn is_address_literal(text: &str) -> bool {
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|address| match address.strip_prefix("IPv6:") {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => address.parse::<Ipv4Addr>().is_ok(),
    })
}
