//! Programs that are wrong in one way, each of which must lose a message or never end.

use dkimctl_state::lifecycle::check::Rule;

use crate::schedule::Profile;

/// The one thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seeded {
    Nothing,
    /// A rule of the planner and of its checks is switched off.
    Without(Rule),
    /// Whole names are set and deleted, whatever stands there.
    Unguarded,
    /// The provider's word is taken for what the servers serve.
    ProviderForServers,
    /// One server is asked for all.
    OneServer,
    /// How long a denial may be cached is not looked at.
    DenialsForgotten,
    /// A host that turns back is believed before it did.
    TurnBackUnproven,
    /// A commit is lost in a power cut.
    CommitNotDurable,
    /// The window is shorter than the queue.
    ShortWindow,
}

impl Seeded {
    /// All but `FreeSlot`: the ledger takes no second key at a selector, and whoever comes after waits for the caches of
    /// whoever was there, so without that rule nothing is lost but time.
    pub const ALL: [Seeded; 22] = [
        Seeded::Without(Rule::EveryServer),
        Seeded::Without(Rule::TwoSweeps),
        Seeded::Without(Rule::Caches),
        Seeded::Without(Rule::FreshLook),
        Seeded::Without(Rule::HoldBeforeUse),
        Seeded::Without(Rule::CommitFirst),
        Seeded::Without(Rule::EveryHostProves),
        Seeded::Without(Rule::Grace),
        Seeded::Without(Rule::Window),
        Seeded::Without(Rule::StillUsed),
        Seeded::Without(Rule::SavedMaxima),
        Seeded::Without(Rule::UnknownIsNotMissing),
        Seeded::Without(Rule::OursOnly),
        Seeded::Without(Rule::ReadBack),
        Seeded::Without(Rule::TwoClocks),
        Seeded::Unguarded,
        Seeded::ProviderForServers,
        Seeded::OneServer,
        Seeded::DenialsForgotten,
        Seeded::TurnBackUnproven,
        Seeded::CommitNotDurable,
        Seeded::ShortWindow,
    ];

    pub fn rule(self) -> Option<Rule> {
        match self {
            Seeded::Without(rule) => Some(rule),
            _ => None,
        }
    }

    pub fn name(self) -> String {
        match self {
            Seeded::Without(rule) => format!("without {rule:?}"),
            other => format!("{other:?}"),
        }
    }

    /// The sentence that is not true of such a program.
    pub fn sentence(self) -> &'static str {
        match self {
            Seeded::Nothing => "",
            Seeded::Without(rule) => rule.sentence(),
            Seeded::Unguarded => "a write happens only if its name still holds what was seen",
            Seeded::ProviderForServers => "a provider's word is not what its servers serve",
            Seeded::OneServer => "every server is asked, not one for all",
            Seeded::DenialsForgotten => "a denial may be cached as long as the SOA says",
            Seeded::TurnBackUnproven => "a host has turned back when it signed with the old key again",
            Seeded::CommitNotDurable => "what was committed survives a kill",
            Seeded::ShortWindow => "the window is longer than the longest queue",
        }
    }

    /// Where it shows.
    pub fn profile(self) -> Profile {
        match self {
            Seeded::Without(rule) => match rule {
                Rule::EveryServer | Rule::TwoSweeps | Rule::UnknownIsNotMissing => Profile::Servers,
                Rule::FreshLook | Rule::FreeSlot => Profile::Edits,
                Rule::HoldBeforeUse | Rule::EveryHostProves | Rule::StillUsed => Profile::Hosts,
                Rule::CommitFirst => Profile::Everything,
                Rule::Grace => Profile::Requests,
                Rule::OursOnly => Profile::Insisted,
                Rule::ReadBack | Rule::Caches | Rule::Window | Rule::SavedMaxima => Profile::Servers,
                Rule::TwoClocks => Profile::Clocks,
            },
            Seeded::Unguarded => Profile::Pauses,
            Seeded::TurnBackUnproven | Seeded::CommitNotDurable => Profile::Everything,
            _ => Profile::Servers,
        }
    }
}
