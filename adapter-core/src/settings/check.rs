//! How a file and flags become [`Settings`].
//!
//! Never opens a socket. Invariant: whatever would show a password or a key to others is refused here.
//! Next: back to `settings`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;

use super::file::{File, Listener, flag};
use super::{
    BrokerSettings, Flags, ListenerSettings, ListenerTls, LogSettings, Settings, SettingsError,
    secret_file,
};
use crate::limits::Limits;
use crate::tls::CertificateFiles;

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
            upstream_ca_file: self.outer.upstream.ca_file.as_ref().map(|file| self.path(file)),
            ops: self.outer.ops.address.as_ref().map(|text| self.address(text)).transpose()?,
            limits: self.limits()?,
            log: self.log(flags)?,
        })
    }

    fn server_name(&self) -> Result<String, SettingsError> {
        let Some(name) = &self.outer.server_name else { return Ok("localhost".to_owned()) };
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        let length = name.get_ref().len();
        if (1..=253).contains(&length) && name.get_ref().bytes().all(fits) {
            return Ok(name.get_ref().clone());
        }
        self.wrong(name, "not a host name", "Write letters, digits, dots and hyphens")
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

    fn broker(&self, flags: &Flags) -> Result<BrokerSettings, SettingsError> {
        let broker = &self.outer.broker;
        let endpoints = match (&flags.broker[..], &broker.endpoints[..]) {
            ([], []) => {
                return self
                    .missing("broker.endpoints", "Say where the broker is, or use --broker");
            }
            ([], written) => {
                for endpoint in written {
                    check_endpoint(endpoint.get_ref())
                        .or_else(|(problem, remedy)| self.wrong(endpoint, problem, remedy))?;
                }
                written.iter().map(|endpoint| endpoint.get_ref().clone()).collect()
            }
            (given, _) => {
                for endpoint in given {
                    check_endpoint(endpoint).map_err(|why| flag("--broker", why))?;
                }
                given.to_vec()
            }
        };
        let key = match (&flags.key_file, &broker.key_file) {
            (Some(file), _) => secret_file(file)
                .map_err(|(problem, remedy)| flag("--key-file", (&problem, &remedy)))?,
            (None, Some(file)) => secret_file(&self.path(file.get_ref()))
                .or_else(|(problem, remedy)| self.wrong(file, &problem, &remedy))?,
            (None, None) => {
                return self.missing("broker.key_file", "Name the file with the adapter's API key");
            }
        };
        let read = |file: &Spanned<PathBuf>| {
            std::fs::read_to_string(self.path(file.get_ref()))
                .or_else(|error| self.wrong(file, &error.to_string(), "Name a PEM file"))
        };
        let ca_pem = broker.ca_file.as_ref().map(read).transpose()?;
        Ok(BrokerSettings { endpoints, key, ca_pem })
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

fn check_endpoint(endpoint: &str) -> Result<(), (&'static str, &'static str)> {
    let remedy = "Write https://HOST:PORT, or http://127.0.0.1:PORT for a broker on this machine";
    let uri: tonic::transport::Uri = endpoint.parse().map_err(|_| ("not a URL", remedy))?;
    let host = uri.host().unwrap_or("").trim_matches(['[', ']']);
    let loopback =
        host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(()),
        Some("http") if loopback => Ok(()),
        Some("http") => Err(("plain http off loopback would show credentials", remedy)),
        _ => Err(("not a URL of a broker", remedy)),
    }
}
