//! Where the configuration is looked for.

use std::path::{Path, PathBuf};

use super::error::{ConfigError, Mistake};

/// The file's name wherever it is looked for.
pub const NAME: &str = "dkimctl.toml";

/// The environment, as far as the search depends on it.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `DKIMCTL_CONFIG`
    pub variable: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, or `.config` in the home directory.
    pub config_home: Option<PathBuf>,
}

impl Surroundings {
    pub fn of_this_process() -> Self {
        let path = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let config_home = path("XDG_CONFIG_HOME").or_else(|| Some(path("HOME")?.join(".config")));
        Surroundings { variable: path("DKIMCTL_CONFIG"), config_home }
    }

    /// Every place, in the order in which they are tried.
    pub fn places(&self) -> Vec<PathBuf> {
        let home = self.config_home.iter().map(|home| home.join("dkimctl").join(NAME));
        let here = std::iter::once(PathBuf::from(NAME));
        here.chain(home).chain(std::iter::once(Path::new("/etc/dkimctl").join(NAME))).collect()
    }
}

/// The configuration to read: what was named, or the first place that has one. A file that was named and is missing
/// is an error, and never a reason to take another.
pub fn find(named: Option<&Path>, around: &Surroundings) -> Result<PathBuf, ConfigError> {
    if let Some(path) = named.map(Path::to_owned).or_else(|| around.variable.clone()) {
        return Ok(path);
    }
    let places = around.places();
    let found = places.iter().find(|place| place.exists()).cloned();
    found.ok_or_else(|| ConfigError::whole(Path::new(NAME), Mistake::NotFound { searched: places }))
}
