//! Whom to ask, as `[observe]` says.

use super::lookup::Lookup;
use super::{AuthoritativeSweeper, Config, Families, Sweeper};
use crate::config::Observe;

/// For questions of every kind.
pub fn lookup(observe: &Observe) -> Lookup {
    Lookup::new(config(observe))
}

/// For the records of keys.
pub fn sweeper(observe: &Observe) -> Box<dyn Sweeper> {
    Box::new(AuthoritativeSweeper::new(config(observe)))
}

fn config(observe: &Observe) -> Config {
    let standard = Config::default();
    let resolvers = if observe.recursives.is_empty() { standard.resolvers } else { observe.recursives.clone() };
    let families = Families { v4: observe.ipv4, v6: observe.ipv6 };
    let (nameservers, servers) = (observe.zones.clone(), observe.nameservers.clone());
    Config { nameservers, servers, resolvers, families, ..standard }
}
