//! What of a Compose project bears on mail. Everything else is not looked at, so that no file is too new to be read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::interpolate::{Text, UNKNOWN, interpolate};
use super::yaml::{Node, Origin, Value};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub origin: Origin,
}

#[derive(Debug, Clone)]
pub struct Service {
    pub name: String,
    pub origin: Origin,
    pub image: Option<At<Text>>,
    pub build: Option<Build>,
    pub hostname: Option<At<Text>>,
    pub domainname: Option<At<Text>>,
    pub environment: Vec<Variable>,
    /// Values come from files or from the caller as well.
    pub has_env_file: bool,
    pub volumes: Vec<Mount>,
    pub ports: Vec<Port>,
    pub network_mode: Option<At<Text>>,
    pub networks: Vec<String>,
    pub secrets: Vec<SecretUse>,
    pub healthcheck: Option<Healthcheck>,
    /// `entrypoint:` and `command:` in one text.
    pub command: String,
    pub profiles: Vec<String>,
    /// It takes over another service that is not looked at: what is absent here may stand there.
    pub extends: Option<Origin>,
}

/// Paths are relative to the directory that is examined, as far as they are below it.
#[derive(Debug, Clone)]
pub struct Build {
    pub context: Option<PathBuf>,
    pub dockerfile: Option<PathBuf>,
    pub origin: Origin,
}

#[derive(Debug, Clone)]
pub struct Variable {
    pub name: String,
    /// `None`: taken over from the caller.
    pub value: Option<Text>,
    pub origin: Origin,
}

#[derive(Debug, Clone)]
pub struct Mount {
    pub target: Text,
    pub kind: MountKind,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    Volume(Text),
    /// A path of the host, as written.
    Bind(Text),
    Anonymous,
    Tmpfs,
}

#[derive(Debug, Clone)]
pub struct Port {
    /// Of the container; the first and the last.
    pub target: Option<(u16, u16)>,
    /// `None`: every address.
    pub host_ip: Option<Text>,
    pub udp: bool,
    pub origin: Origin,
}

#[derive(Debug, Clone)]
pub struct SecretUse {
    pub source: String,
    /// `uid`, `gid`, `mode`, as they are written, and where.
    pub access: Vec<(&'static str, String, Origin)>,
    pub origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Healthcheck {
    Given,
    Disabled,
}

/// Where a secret of the project comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    File(Text),
    Environment,
    External,
    Other,
}

/// Reads nodes with the variables of a project, whose paths begin at `directory`.
pub struct Reader<'a> {
    pub variables: &'a BTreeMap<String, String>,
    pub directory: &'a Path,
}

impl Service {
    /// Whether this is only a piece of a service: no image and no build, so the rest stands elsewhere.
    pub fn is_piece(&self) -> bool {
        self.extends.is_some() || self.image.is_none() && self.build.is_none()
    }

    /// The mount that a path of the container lies on; the deepest one counts.
    pub fn mount_of(&self, path: &str) -> Option<&Mount> {
        let below = |target: &str| {
            let target = target.trim_end_matches('/');
            path == target || path.strip_prefix(target).is_some_and(|rest| rest.starts_with('/'))
        };
        let mounts = self.volumes.iter().filter(|mount| below(&mount.target.text));
        mounts.max_by_key(|mount| mount.target.text.trim_end_matches('/').len())
    }

    pub fn variable(&self, name: &str) -> Option<&Variable> {
        self.environment.iter().find(|variable| variable.name == name)
    }
}

impl Port {
    pub fn has(&self, port: u16) -> bool {
        self.target.is_some_and(|(first, last)| (first..=last).contains(&port)) && !self.udp
    }

    /// Whether only this host itself can connect; `None` if that depends on what is not known.
    pub fn is_loopback(&self) -> Option<bool> {
        match &self.host_ip {
            None => Some(false),
            Some(ip) => {
                let ip = ip.known()?.trim_matches(['[', ']']);
                Some(ip == "localhost" || ip.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()))
            }
        }
    }
}

impl Reader<'_> {
    pub fn services(&self, root: &Node) -> Vec<Service> {
        let services = root.get("services").into_iter().flat_map(Node::entries);
        let services = services.filter(|(name, node)| node.is_map() && !name.starts_with("x-"));
        services.map(|(name, node)| self.service(name, node)).collect()
    }

    pub fn secrets(&self, root: &Node) -> BTreeMap<String, SecretSource> {
        let source = |node: &Node| {
            if let Some(file) = node.get("file") {
                SecretSource::File(self.interpolated(file))
            } else if node.get("environment").is_some() {
                SecretSource::Environment
            } else if node.get("external").is_some() {
                SecretSource::External
            } else {
                SecretSource::Other
            }
        };
        let secrets = root.get("secrets").into_iter().flat_map(Node::entries);
        secrets.map(|(name, node)| (name.to_owned(), source(node))).collect()
    }

    /// The subnets of the project's networks, where they are written down.
    pub fn subnets(&self, root: &Node) -> BTreeMap<String, Vec<Text>> {
        let networks = root.get("networks").into_iter().flat_map(Node::entries);
        let subnets = |node: &Node| {
            let pools = node.get("ipam").and_then(|ipam| ipam.get("config")).map_or(&[][..], Node::elements);
            pools.iter().filter_map(|pool| pool.get("subnet")).map(|subnet| self.interpolated(subnet)).collect()
        };
        networks.map(|(name, node)| (name.to_owned(), subnets(node))).collect()
    }

    fn service(&self, name: &str, node: &Node) -> Service {
        let text = |key: &str| {
            let node = node.get(key).filter(|node| node.text().is_some())?;
            Some(At { value: self.interpolated(node), origin: node.origin })
        };
        let list = |key: &str| node.get(key).map_or(&[][..], Node::elements);
        let words = |key: &str| node.get(key).map(Node::texts).unwrap_or_default();
        let networks = node.get("networks");
        let mut volumes: Vec<Mount> = list("volumes").iter().filter_map(|node| self.mount(node)).collect();
        if let Some(tmpfs) = node.get("tmpfs") {
            let mount = |target: &str| Mount {
                target: self.text(target.split(':').next().unwrap_or(target)),
                kind: MountKind::Tmpfs,
                origin: tmpfs.origin,
            };
            volumes.extend(tmpfs.texts().into_iter().map(mount));
        }
        Service {
            name: name.to_owned(),
            origin: node.origin,
            image: text("image"),
            build: node.get("build").map(|build| self.build(build)),
            hostname: text("hostname"),
            domainname: text("domainname"),
            environment: node.get("environment").map(|node| self.environment(node)).unwrap_or_default(),
            has_env_file: node.get("env_file").is_some(),
            volumes,
            ports: list("ports").iter().map(|node| self.port(node)).collect(),
            network_mode: text("network_mode"),
            networks: networks
                .map(|networks| match networks.elements() {
                    [] => networks.entries().map(|(name, _)| name.to_owned()).collect(),
                    list => list.iter().filter_map(Node::text).map(str::to_owned).collect(),
                })
                .unwrap_or_default(),
            secrets: list("secrets").iter().filter_map(|node| self.secret_use(node)).collect(),
            healthcheck: node.get("healthcheck").map(|check| self.healthcheck(check)),
            command: [words("entrypoint"), words("command")].concat().join(" "),
            profiles: words("profiles").into_iter().map(str::to_owned).collect(),
            extends: node.get("extends").map(|extends| extends.origin),
        }
    }

    fn healthcheck(&self, node: &Node) -> Healthcheck {
        let off = node.get("disable").and_then(Node::text) == Some("true")
            || node.get("test").is_some_and(|test| test.texts().first() == Some(&"NONE"));
        if off { Healthcheck::Disabled } else { Healthcheck::Given }
    }

    fn build(&self, node: &Node) -> Build {
        let text = |node: Option<&Node>| node.filter(|node| node.text().is_some()).map(|node| self.interpolated(node));
        let context = text(Some(node)).or_else(|| text(node.get("context"))).unwrap_or_else(|| self.text("."));
        let context = self.path(&context);
        let dockerfile = text(node.get("dockerfile")).unwrap_or_else(|| self.text("Dockerfile"));
        let inline = node.get("dockerfile_inline").is_some();
        let dockerfile = context.as_ref().filter(|_| !inline).and_then(|context| {
            let name = Path::new(dockerfile.known()?);
            (!name.is_absolute()).then(|| normal(&context.join(name))).flatten()
        });
        Build { context, dockerfile, origin: node.origin }
    }

    /// A path of the project, if it is below the directory that is examined.
    pub fn path(&self, text: &Text) -> Option<PathBuf> {
        let path = Path::new(text.known()?);
        let remote = path.to_str().is_some_and(|path| path.contains("://") || path.starts_with("git@"));
        if remote || path.is_absolute() { None } else { normal(&self.directory.join(path)) }
    }

    fn environment(&self, node: &Node) -> Vec<Variable> {
        if node.is_map() {
            let variable = |(name, node): (&str, &Node)| Variable {
                name: name.to_owned(),
                value: (node.value != Value::Null).then(|| self.interpolated(node)),
                origin: node.origin,
            };
            return node.entries().map(variable).collect();
        }
        let variable = |node: &Node| {
            let text = node.text()?;
            let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
            let value = value.map(|value| self.text(value));
            Some(Variable { name: name.trim().to_owned(), value, origin: node.origin })
        };
        node.elements().iter().filter_map(variable).collect()
    }

    /// `SOURCE:TARGET:MODE`, or the long form.
    fn mount(&self, node: &Node) -> Option<Mount> {
        let origin = node.origin;
        if node.is_map() {
            let text = |key: &str| node.get(key).map(|node| self.interpolated(node));
            let source = text("source").or_else(|| text("src")).filter(|source| *source != Text::default());
            let target = text("target").or_else(|| text("dst")).or_else(|| text("destination"))?;
            let kind = match (node.get("type").and_then(Node::text), source) {
                (Some("tmpfs"), _) => MountKind::Tmpfs,
                (Some("bind"), source) => MountKind::Bind(source.unwrap_or_default()),
                (_, Some(source)) => MountKind::Volume(source),
                (_, None) => MountKind::Anonymous,
            };
            return Some(Mount { target, kind, origin });
        }
        let whole = self.interpolated(node);
        let part = |text: &str| self.part(&whole, text);
        let mut parts = whole.text.splitn(3, ':');
        let (first, second) = (parts.next()?, parts.next());
        Some(match second {
            // An option alone is no target.
            Some(target) if target.starts_with(['/', UNKNOWN, '\\']) || !matches!(target, "ro" | "rw" | "z" | "Z") => {
                let host = first.starts_with(['.', '/', '~', UNKNOWN]) || first.contains('/');
                let source = part(first);
                let kind = if host { MountKind::Bind(source) } else { MountKind::Volume(source) };
                Mount { target: part(target), kind, origin }
            }
            _ => Mount { target: part(first), kind: MountKind::Anonymous, origin },
        })
    }

    /// A piece of an interpolated text, with the variables that are missing in it.
    fn part(&self, whole: &Text, text: &str) -> Text {
        let unresolved = if text.contains(UNKNOWN) { whole.unresolved.clone() } else { Vec::new() };
        Text { text: text.to_owned(), unresolved }
    }

    /// `[IP:][HOST:]CONTAINER[/PROTOCOL]`, or the long form.
    fn port(&self, node: &Node) -> Port {
        let origin = node.origin;
        if node.is_map() {
            let text = |key: &str| node.get(key).map(|node| self.interpolated(node));
            let udp = text("protocol").is_some_and(|protocol| protocol.text.eq_ignore_ascii_case("udp"));
            let host_ip = text("host_ip").filter(|ip| !ip.text.is_empty());
            return Port { target: text("target").and_then(|target| range(&target.text)), host_ip, udp, origin };
        }
        let whole = self.interpolated(node);
        let (text, udp) = match whole.text.rsplit_once('/') {
            Some((text, protocol)) => (text, protocol.eq_ignore_ascii_case("udp")),
            None => (whole.text.as_str(), false),
        };
        let mut parts = text.rsplitn(3, ':');
        let target = parts.next().and_then(range);
        let _host_port = parts.next();
        let host_ip = parts.next().filter(|ip| !ip.is_empty()).map(|ip| self.part(&whole, ip));
        Port { target, host_ip, udp, origin }
    }

    fn secret_use(&self, node: &Node) -> Option<SecretUse> {
        if let Some(source) = node.text() {
            return Some(SecretUse { source: source.to_owned(), access: Vec::new(), origin: node.origin });
        }
        let source = node.get("source").and_then(Node::text)?.to_owned();
        let access = ["uid", "gid", "mode"].into_iter().filter_map(|key| {
            let at = node.get(key)?;
            Some((key, at.text().unwrap_or_default().to_owned(), at.origin))
        });
        Some(SecretUse { source, access: access.collect(), origin: node.origin })
    }

    fn interpolated(&self, node: &Node) -> Text {
        self.text(node.text().unwrap_or_default())
    }

    fn text(&self, text: &str) -> Text {
        interpolate(text, self.variables)
    }
}

/// `587` or `3000-3005`.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

/// Without `.` and `..`; `None` for what leads out of the directory.
pub fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::Normal(name) => normal.push(name),
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                if !normal.pop() {
                    return None;
                }
            }
            _ => return None,
        }
    }
    Some(normal)
}
