//! A running container: what the engine says of it, and what commands say that are run inside it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::engine::Engine;
use crate::command::{self, CommandError, Ran};

/// A container. Commands are run in it as root, once each: the doctor only looks, so an answer stays true for a run.
pub struct Container {
    pub name: String,
    /// What `docker inspect` says.
    pub inspect: Value,
    engine: Arc<dyn Engine>,
    asked: Mutex<HashMap<Vec<String>, Ran>>,
}

/// Where something inside the container really lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub target: String,
    pub kind: MountKind,
    /// The volume's name, or the path on the host.
    pub source: String,
    pub writable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountKind {
    Bind,
    Volume,
    /// A volume that nobody named: `docker compose down` and a new container leave it behind.
    Anonymous,
    Tmpfs,
    Other,
}

/// A port of the container that the host listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub port: u16,
    /// Empty for every address.
    pub host_ip: String,
    pub host_port: String,
}

impl Container {
    pub fn open(engine: Arc<dyn Engine>, name: &str) -> Result<Container, CommandError> {
        let args = ["container", "inspect", name];
        let ran = engine.run(&args)?;
        let refused = |said: String| CommandError::Refused { command: command::spelled("docker", &args), said };
        if !ran.is_ok() {
            return Err(refused(ran.complaint()));
        }
        let documents: Value = serde_json::from_slice(&ran.stdout).map_err(|error| refused(error.to_string()))?;
        let inspect = documents.get(0).cloned().ok_or_else(|| refused("no such container".to_owned()))?;
        Ok(Container { name: name.to_owned(), inspect, engine, asked: Mutex::default() })
    }

    /// Runs a command inside. One that ended badly is no error: see [`Ran`].
    pub fn exec(&self, argv: &[&str]) -> Result<Ran, CommandError> {
        let key: Vec<String> = argv.iter().map(|&arg| arg.to_owned()).collect();
        if let Some(ran) = self.asked.lock().expect("no panic holds it").get(&key) {
            return Ok(ran.clone());
        }
        let mut args = vec!["exec", "-u", "0", "-e", "LC_ALL=C", self.name.as_str()];
        args.extend_from_slice(argv);
        let ran = self.engine.run(&args)?;
        // 126 and 127: the engine, or a shell, could not start it. Then stderr says whether the container runs at all.
        if !ran.is_ok() && is_engines_own(&ran) {
            return Err(CommandError::Refused {
                command: command::spelled("docker", &[&["exec", self.name.as_str()], argv].concat()),
                said: ran.complaint(),
            });
        }
        self.asked.lock().expect("no panic holds it").insert(key, ran.clone());
        Ok(ran)
    }

    /// What a command that must succeed wrote.
    pub fn ask(&self, argv: &[&str]) -> Result<String, CommandError> {
        let ran = self.exec(argv)?;
        match ran.is_ok() {
            true => Ok(ran.stdout()),
            false => Err(CommandError::Refused {
                command: command::spelled("docker", &[&["exec", self.name.as_str()], argv].concat()),
                said: ran.complaint(),
            }),
        }
    }

    /// A file as it is seen inside; `None` if it is not there.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, CommandError> {
        let ran = self.exec(&["cat", "--", path])?;
        match ran.is_ok() {
            true => Ok(Some(ran.stdout)),
            false if ran.complaint().contains("No such file") => Ok(None),
            false => Err(CommandError::Refused {
                command: format!("docker exec {} cat {path}", self.name),
                said: ran.complaint(),
            }),
        }
    }

    pub fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    pub fn is_running(&self) -> bool {
        self.inspect["State"]["Running"].as_bool().unwrap_or(false)
    }

    /// Its first process as the host counts them: the door to its network namespace.
    pub fn pid(&self) -> Option<i32> {
        let pid = self.inspect["State"]["Pid"].as_i64().filter(|&pid| pid > 0);
        pid.and_then(|pid| i32::try_from(pid).ok())
    }

    pub fn id(&self) -> &str {
        self.inspect["Id"].as_str().unwrap_or_default()
    }

    pub fn hostname(&self) -> &str {
        self.inspect["Config"]["Hostname"].as_str().unwrap_or_default()
    }

    pub fn domainname(&self) -> &str {
        self.inspect["Config"]["Domainname"].as_str().unwrap_or_default()
    }

    pub fn image(&self) -> &str {
        self.inspect["Config"]["Image"].as_str().unwrap_or_default()
    }

    pub fn label(&self, name: &str) -> Option<&str> {
        self.inspect["Config"]["Labels"][name].as_str()
    }

    /// The Compose service that it is a container of.
    pub fn service(&self) -> Option<&str> {
        self.label("com.docker.compose.service")
    }

    pub fn environment(&self) -> Vec<(&str, &str)> {
        let entries = self.inspect["Config"]["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
        entries.filter_map(|entry| entry.split_once('=')).collect()
    }

    /// Host, none, or a network of its own.
    pub fn network_mode(&self) -> &str {
        self.inspect["HostConfig"]["NetworkMode"].as_str().unwrap_or_default()
    }

    /// Its own addresses.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.networks(&["IPAddress", "GlobalIPv6Address"])
    }

    /// The bridges' own addresses: what a connection seems to come from if the engine's proxy made it.
    pub fn gateways(&self) -> Vec<IpAddr> {
        self.networks(&["Gateway", "IPv6Gateway"])
    }

    fn networks(&self, fields: &[&str]) -> Vec<IpAddr> {
        let networks = self.inspect["NetworkSettings"]["Networks"].as_object().into_iter().flatten();
        let found = networks.flat_map(|(_, network)| fields.iter().filter_map(|field| network[*field].as_str()));
        found.filter_map(|text| text.parse().ok()).collect()
    }

    pub fn published(&self) -> Vec<Published> {
        let mut published = Vec::new();
        for (port, bindings) in self.inspect["NetworkSettings"]["Ports"].as_object().into_iter().flatten() {
            let Some(port) = port.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else { continue };
            for binding in bindings.as_array().into_iter().flatten() {
                let text = |field: &str| binding[field].as_str().unwrap_or_default().to_owned();
                published.push(Published { port, host_ip: text("HostIp"), host_port: text("HostPort") });
            }
        }
        published.sort_by(|a, b| (a.port, &a.host_ip).cmp(&(b.port, &b.host_ip)));
        published
    }

    pub fn mounts(&self) -> Vec<Mount> {
        let mut mounts: Vec<Mount> = Vec::new();
        for mount in self.inspect["Mounts"].as_array().into_iter().flatten() {
            let text = |field: &str| mount[field].as_str().unwrap_or_default().to_owned();
            let (kind, source) = match mount["Type"].as_str() {
                Some("bind") => (MountKind::Bind, text("Source")),
                Some("volume") if is_anonymous(&text("Name")) => (MountKind::Anonymous, text("Name")),
                Some("volume") => (MountKind::Volume, text("Name")),
                Some("tmpfs") => (MountKind::Tmpfs, String::new()),
                _ => (MountKind::Other, text("Source")),
            };
            let writable = mount["RW"].as_bool().unwrap_or(true);
            mounts.push(Mount { target: text("Destination"), kind, source, writable });
        }
        for target in self.inspect["HostConfig"]["Tmpfs"].as_object().into_iter().flatten().map(|(target, _)| target) {
            mounts.push(Mount {
                target: target.clone(),
                kind: MountKind::Tmpfs,
                source: String::new(),
                writable: true,
            });
        }
        mounts
    }

    /// The mount that a path inside lies on; `None` is the container's own, throw-away layer.
    pub fn mount_of(&self, path: &str) -> Option<Mount> {
        let below = |target: &str| {
            let target = target.trim_end_matches('/');
            path == target || path.strip_prefix(target).is_some_and(|rest| rest.starts_with('/'))
        };
        self.mounts().into_iter().filter(|mount| below(&mount.target)).max_by_key(|mount| mount.target.len())
    }
}

/// The engine names volumes that nobody named by 64 hexadecimal digits.
fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether `docker exec` itself failed, and not what was run. Some engines say so on standard output.
fn is_engines_own(ran: &Ran) -> bool {
    let own =
        ["Error response from daemon", "Cannot connect to the Docker daemon", "OCI runtime exec failed", "Error: "];
    let says = |text: &str| own.iter().any(|start| text.starts_with(start));
    match ran.code {
        Some(126 | 127) => says(&ran.complaint()) || says(&ran.stdout()),
        Some(1 | 125) => says(&ran.complaint()),
        _ => false,
    }
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
