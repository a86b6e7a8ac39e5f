//! Postfix as it is in force in a container: what postconf(1) says there, and what it complains of.

use std::collections::{BTreeMap, BTreeSet};

use super::super::container::Container;
use crate::command::CommandError;

/// Every parameter, with the parameters inside its value put in.
#[derive(Debug, Clone, Default)]
pub struct Effective {
    values: BTreeMap<String, String>,
    /// Those that main.cf sets.
    set: BTreeSet<String>,
    /// What postconf warns of, without repetition.
    pub complaints: Vec<String>,
}

impl Effective {
    /// `None` if there is no Postfix in the container.
    pub fn ask(container: &Container) -> Result<Option<Effective>, CommandError> {
        let all = match container.exec(&["postconf", "-x"]) {
            Err(CommandError::Refused { said, .. }) if is_not_installed(&said) => return Ok(None),
            all => all?,
        };
        if !all.is_ok() {
            let command = format!("docker exec {} postconf -x", container.name);
            return Err(CommandError::Refused { command, said: all.complaint() });
        }
        let written = container.exec(&["postconf", "-n"])?;
        let mut complaints: Vec<String> = Vec::new();
        for line in String::from_utf8_lossy(&written.stderr).lines() {
            let said = line.split_once("warning: ").map_or(line, |(_, said)| said).trim();
            if !said.is_empty() && !complaints.iter().any(|known| known == said) {
                complaints.push(said.to_owned());
            }
        }
        Ok(Some(Effective {
            values: parameters(&all.stdout()).collect(),
            set: parameters(&written.stdout()).map(|(name, _)| name).collect(),
            complaints,
        }))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A value, empty if there is none.
    pub fn value(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains(name)
    }
}

fn parameters(text: &str) -> impl Iterator<Item = (String, String)> {
    let parameter =
        |line: &str| line.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    text.lines().filter_map(parameter)
}

fn is_not_installed(said: &str) -> bool {
    said.contains("executable file not found") || said.contains("no such file or directory")
}
