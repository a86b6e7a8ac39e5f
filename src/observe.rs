use dkimctl_state::lifecycle::seen::Sweep;
use dkimctl_state::name::Fqdn;
use dkimctl_state::time::Time;

/// Asks every address of every authoritative server.
pub trait Sweeper {
    /// One sweep for each name, in order.
    fn sweep(&self, names: &[Fqdn], at: Time) -> Vec<Sweep>;
}
