//! The next command after an error.

use dkimctl_providers::ProviderError;
use dkimctl_state::lifecycle::wait::Wait;
use dkimctl_state::store::StoreError;

use super::words;
use crate::guarded::PublishError;
use crate::vault::VaultError;
use crate::world::Failure;

/// What to do where nothing better is known.
pub const AFTERWARDS: &str = "when that is mended, run the same command again";

/// What to do about a state that cannot be used; most of its errors say it themselves.
pub fn store(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::Locked(_) => "wait for the other command to end, and run this one again".to_owned(),
        StoreError::Missing { .. } => "dkimctl init".to_owned(),
        StoreError::Stale { .. } | StoreError::Fenced { .. } | StoreError::NoteChanged(_) => {
            "run the same command again; nothing was written".to_owned()
        }
        StoreError::Older { .. } => {
            "bring the newer copy back; if it is lost: dkimctl state accept-older, and then dkimctl verify".to_owned()
        }
        StoreError::Io { .. } => {
            "mend what it names, and run the same command again; dkimctl status still reads".to_owned()
        }
        StoreError::Full { .. } => "make room, and run the same command again".to_owned(),
        StoreError::Damaged { .. } | StoreError::NotAState { .. } => {
            "dkimctl state verify shows what is damaged; bring back a backup that was made by dkimctl state backup"
                .to_owned()
        }
        _ => return None,
    })
}

/// What to do about a record of SPF or DMARC that was not touched; most of its errors say it themselves.
pub fn publish(error: &PublishError) -> Option<String> {
    match error {
        PublishError::NothingBefore { domain } => Some(format!("dkimctl log {domain} has every text that stood there")),
        _ => None,
    }
}

/// What to do after a step failed. Every step can be tried again: it looks before it writes.
pub fn failure(failure: &Failure, domain: &impl std::fmt::Display) -> String {
    match failure {
        Failure::Changed { .. } => format!("dkimctl plan {domain} shows what stands there now"),
        Failure::Dns(ProviderError::NoZone(_)) => {
            "add the zone to the provider's `zones`, or name another provider for the domain".to_owned()
        }
        Failure::Dns(ProviderError::Auth(_)) => {
            format!("set it right in [provider.NAME] of dkimctl.toml, then: dkimctl advance {domain}")
        }
        Failure::Dns(ProviderError::Rejected { code, .. }) if code == "too long" => {
            format!("dkimctl rollback {domain} gives this key up; with `rsa_bits = 2048`: dkimctl rotate {domain}")
        }
        Failure::Rule(_) => format!("dkimctl log {domain} shows how it came to this"),
        _ => format!("dkimctl advance {domain} tries again; so does the next run of cron"),
    }
}

/// What to do about a wait that neither time nor others end.
pub fn stuck(wait: &Wait, domain: &impl std::fmt::Display) -> String {
    match wait {
        Wait::Slots { .. } => format!(
            "see to what was found, or add a selector to the domain's `selectors`; then: dkimctl advance {domain}"
        ),
        Wait::Unknown { .. } => {
            format!("see to [provider.NAME] in dkimctl.toml, then: dkimctl advance {domain}; nothing was changed")
        }
        Wait::Foreign { .. } => format!(
            "remove it where the zone is kept, if it is nobody's; dkimctl advance {domain} then goes on, and \
             dkimctl rollback {domain} gives the rotation up"
        ),
        Wait::Alias { .. } => format!(
            "dkimctl dns delegate {domain} prints the alias that leads to us; or name the provider of the zone that it \
             leads to"
        ),
        Wait::RecordLost { .. } => {
            format!("dkimctl verify {domain} shows it, and dkimctl plan {domain} what would be done")
        }
        Wait::ClockBehind { .. } | Wait::ClockDisagrees { .. } => {
            format!("timedatectl shows the clock and whether it is kept; when it is right: dkimctl advance {domain}")
        }
        other => words::advice(other, domain).unwrap_or_else(|| format!("dkimctl plan {domain}")),
    }
}

pub fn vault(error: &VaultError) -> Option<String> {
    match error {
        VaultError::NoRecipients => Some("dkimctl init --recipient age1... writes one into dkimctl.toml".to_owned()),
        _ => None,
    }
}
