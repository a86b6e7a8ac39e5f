//! The next command after an error.

use dkimctl_providers::ProviderError;
use dkimctl_state::store::StoreError;

use crate::vault::VaultError;
use crate::world::Failure;

/// What to do about a state that cannot be used; most of its errors say it themselves.
pub fn store(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::Locked(_) => "wait for the other command to end, and run this one again".to_owned(),
        StoreError::Missing { .. } => "dkimctl init".to_owned(),
        StoreError::Stale { .. } | StoreError::Fenced { .. } | StoreError::NoteChanged(_) => {
            "run the same command again; nothing was written".to_owned()
        }
        StoreError::Full { .. } => "make room, and run the same command again".to_owned(),
        StoreError::Damaged { .. } | StoreError::NotAState { .. } => {
            "dkimctl state verify shows what is damaged; bring back a backup that was made by dkimctl state backup"
                .to_owned()
        }
        _ => return None,
    })
}

/// What to do after a step failed. Every step can be tried again: it looks before it writes.
pub fn failure(failure: &Failure, domain: &impl std::fmt::Display) -> String {
    match failure {
        Failure::Changed { .. } => format!("dkimctl plan {domain} shows what stands there now"),
        Failure::Dns(ProviderError::NoZone(_)) => {
            "add the zone to the provider's `zones`, or name another provider for the domain".to_owned()
        }
        Failure::Dns(ProviderError::Auth(_)) => {
            "dkimctl init --provider shows the narrowest rights that suffice".to_owned()
        }
        Failure::Rule(_) => format!("dkimctl log {domain} shows how it came to this"),
        _ => format!("dkimctl advance {domain} tries again; so does the next run of cron"),
    }
}

pub fn vault(error: &VaultError) -> Option<String> {
    match error {
        VaultError::NoRecipients => Some("dkimctl init --recipient age1... writes one into dkimctl.toml".to_owned()),
        _ => None,
    }
}
