//! The rspamd that signs: what its configuration comes to, with everything that it includes.
//!
//! It is spread over includes, Lua and templates, so rspamd itself is asked for the sum (`rspamadm configdump`). Passwords
//! are among it: what is not looked for is not kept.

use std::path::PathBuf;

use serde_json::Value;

use super::engine::Ran;
use super::inside::Inside;
use crate::signers::milter::Socket;
use crate::signers::rspamd::{MILTER_PORT, Settings, USER};

/// Where Debian's rspamd looks.
pub const CONF: &str = "/etc/rspamd/rspamd.conf";

/// What prints its configuration with everything that it includes, as one JSON document.
pub const DUMP: [&str; 5] = ["rspamadm", "configdump", "-C", "-c", CONF];

/// What of its configuration matters to a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf {
    /// `key_table` and `signing_table` of dkim_signing, if it signs by them.
    pub tables: Option<(PathBuf, PathBuf)>,
    /// The proxy worker's milter.
    pub socket: Result<Socket, String>,
    pub user: String,
    /// `sign_headers` of dkim.
    pub headers: Option<String>,
}

impl Conf {
    /// Asks the rspamd that is installed inside.
    pub fn ask(inside: &Inside) -> Result<Conf, String> {
        let ran = inside.run(&DUMP).map_err(|error| error.to_string())?;
        if !Ran::is_ok(&ran) {
            return Err(format!("rspamd's configuration could not be asked for: {}", ran.complaint()));
        }
        Conf::read(&ran.stdout())
    }

    /// From what [`DUMP`] printed.
    pub fn read(text: &str) -> Result<Conf, String> {
        let dump: Value =
            serde_json::from_str(text).map_err(|error| format!("`rspamadm configdump` printed no JSON: {error}"))?;
        let signing = &dump["dkim_signing"];
        let tables = match (&signing["key_table"], &signing["signing_table"]) {
            (Value::Null, _) | (_, Value::Null) => None,
            (keys, signing) => Some((table(keys)?, table(signing)?)),
        };
        let headers = dump["dkim"]["sign_headers"].as_str().map(str::to_owned);
        Ok(Conf { tables, socket: milter(&dump["worker"]), user: USER.to_owned(), headers })
    }

    /// As the `host.toml` of this host has it.
    pub fn of(settings: &Settings) -> Conf {
        Conf {
            tables: Some((settings.key_table.clone(), settings.signing_table.clone())),
            socket: Ok(settings.socket.clone()),
            user: settings.user.clone(),
            headers: None,
        }
    }

    /// Whether a header is signed where it is there.
    pub fn signs(&self, header: &str) -> bool {
        // Its own list has both Date and Message-ID.
        let Some(list) = &self.headers else { return true };
        let name = |entry: &str| entry.trim().trim_start_matches("(o)").trim_start_matches("(x)").to_owned();
        list.split(':').any(|entry| name(entry).eq_ignore_ascii_case(header))
    }
}

/// A map that is a file of its own.
fn table(value: &Value) -> Result<PathBuf, String> {
    let text = value.as_str().unwrap_or_default();
    let path = text.strip_prefix("file://").unwrap_or(text);
    match path.starts_with('/') {
        true => Ok(path.into()),
        false => Err(format!("a table of rspamd is no single file, and is not looked into: {value}")),
    }
}

/// The worker that speaks milter; rspamd calls it `rspamd_proxy`.
fn milter(workers: &Value) -> Result<Socket, String> {
    // One worker stands by itself, several in a list.
    let listed = workers.as_array().into_iter().flatten().chain(Some(workers).filter(|workers| workers.is_object()));
    let named = listed.filter_map(|worker| ["rspamd_proxy", "proxy"].iter().find_map(|name| worker.get(*name)));
    let mut speaking = named.filter(|worker| worker["milter"].as_bool() == Some(true));
    let worker = speaking.next().ok_or("rspamd has no worker that speaks milter")?;
    let bind = match &worker["bind_socket"] {
        Value::Array(several) => several.first().and_then(Value::as_str),
        one => one.as_str(),
    };
    let bind = bind.unwrap_or("localhost");
    socket(bind).ok_or_else(|| format!("rspamd's milter listens at `{bind}`, which is not understood"))
}

/// `bind_socket`: a path with its owner and mode behind it, or `host:port`, where `*` is every address.
fn socket(bind: &str) -> Option<Socket> {
    let place = bind.split_whitespace().next()?;
    if place.starts_with('/') {
        return Some(Socket::Local(place.into()));
    }
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
        _ => (place, MILTER_PORT),
    };
    let host = match host.trim_start_matches('[').trim_end_matches(']') {
        "*" | "*v4" | "0.0.0.0" => "127.0.0.1",
        "*v6" | "::" => "::1",
        "systemd" => return None,
        host => host,
    };
    Some(Socket::Inet { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rspamd_says_of_itself() {
        let dump = r#"{"worker": [{"normal": {"bind_socket": "localhost:11333"}},
            {"rspamd_proxy": {"milter": true, "bind_socket": "/run/milter/rspamd.sock mode=0660 owner=_rspamd group=milter"}}],
            "dkim_signing": {"key_table": "/t/KeyTable", "signing_table": "file:///t/SigningTable"},
            "dkim": {"sign_headers": "(o)from:(x)date:subject"}}"#;
        let conf = Conf::read(dump).unwrap();
        assert_eq!(conf.tables, Some(("/t/KeyTable".into(), "/t/SigningTable".into())));
        assert_eq!(conf.socket, Ok(Socket::Local("/run/milter/rspamd.sock".into())));
        assert!(conf.signs("Date") && conf.signs("From") && !conf.signs("Message-ID"));

        let alone =
            Conf::read(r#"{"worker": {"rspamd_proxy": {"milter": true, "bind_socket": ["*:11332"]}}}"#).unwrap();
        assert_eq!(alone.socket, Ok(Socket::Inet { host: "127.0.0.1".into(), port: 11332 }));
        assert!(alone.tables.is_none() && alone.signs("Message-ID"));

        assert!(Conf::read(r#"{"worker": {"normal": {}}}"#).unwrap().socket.is_err());
        assert!(Conf::read(r#"{"dkim_signing": {"key_table": ["k1 x:y:z"], "signing_table": "/t"}}"#).is_err());
        assert!(Conf::read("no actions defined").is_err());
    }

    #[test]
    fn where_a_worker_listens() {
        let inet = |host: &str, port| Some(Socket::Inet { host: host.into(), port });
        for (bind, wanted) in [
            ("localhost:11332", inet("localhost", 11332)),
            ("127.0.0.1", inet("127.0.0.1", MILTER_PORT)),
            ("[::1]:900", inet("::1", 900)),
            ("::1", inet("::1", MILTER_PORT)),
            ("*v6:900", inet("::1", 900)),
            ("systemd:1", None),
        ] {
            assert_eq!(socket(bind), wanted, "{bind}");
        }
    }
}
