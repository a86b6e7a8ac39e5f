//! `dkimctl.toml` as it is written: every key there is, each with its place in the file. Nothing is judged here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

pub type Text = Spanned<String>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// The directory of state, sealed keys and lock.
    pub state: Option<Text>,
    /// More domains: one name a line, or CSV.
    pub domains_file: Option<Text>,
    pub defaults: Choices,
    pub domain: Vec<Spanned<Choices>>,
    pub provider: BTreeMap<Text, Spanned<Provider>>,
    pub signer: BTreeMap<Text, Spanned<Signer>>,
    pub secrets: Secrets,
    pub observe: Observe,
    pub reports: Reports,
    pub policy: Policy,
    pub placement: Option<Spanned<super::placement::Written>>,
    pub fleet: Fleet,
}

/// How reports that come by mail are judged.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reports {
    /// The servers whose Authentication-Results are believed.
    pub authserv_ids: Vec<String>,
}

/// What can be chosen for all domains, or for one.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Choices {
    pub name: Option<Text>,
    pub selectors: Option<Spanned<Vec<Text>>>,
    pub spare: Option<Text>,
    pub algorithms: Option<Spanned<Vec<Text>>>,
    pub ed25519_selectors: Option<Spanned<Vec<Text>>>,
    pub ed25519_spare: Option<Text>,
    pub rsa_bits: Option<Spanned<u16>>,
    pub ttl: Option<Spanned<u32>>,
    pub provider: Option<Text>,
    pub providers: Option<Spanned<Vec<Text>>>,
    pub signer: Option<Text>,
    pub signers: Option<Spanned<Vec<Text>>>,
    pub policy: Option<Policy>,
    /// Who sends for the domain, and where its SPF record is to end.
    pub spf: Option<crate::spf::desired::Wanted>,
    pub dmarc: Option<dkimctl_state::lifecycle::staging::policy::StagingPolicy>,
}

/// The keys of every type of provider; which of them a type takes is judged later, with the key's place at hand.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Provider {
    #[serde(rename = "type")]
    pub kind: Option<Text>,
    pub server: Option<Text>,
    pub zones: Option<Spanned<Vec<Text>>>,
    pub files: Option<Spanned<BTreeMap<Text, Text>>>,
    pub key_name: Option<Text>,
    pub algorithm: Option<Text>,
    pub secret_file: Option<Text>,
    pub secret_credential: Option<Text>,
    pub secret_env: Option<Text>,
    pub timeout: Option<Text>,
    pub url: Option<Text>,
    pub endpoint: Option<Text>,
    pub profile: Option<Text>,
    pub zone_ids: Option<Spanned<Vec<String>>>,
    pub batch: Option<Spanned<u32>>,
    pub comment: Option<Text>,
    pub nameservers: Option<Spanned<Vec<String>>>,
    pub patience: Option<Text>,
    pub default_ttl: Option<Spanned<u32>>,
    pub reload: Option<Spanned<Vec<String>>>,
    pub reload_timeout: Option<Text>,
    /// Refused, and not even kept in memory.
    pub secret: Option<Spanned<IgnoredAny>>,
    pub token: Option<Spanned<IgnoredAny>>,
    pub password: Option<Spanned<IgnoredAny>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Signer {
    pub outbox: Option<Text>,
    pub receipts: Option<Text>,
    pub receipt_key: Option<Text>,
    pub apply: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    pub recipients: Option<Vec<Text>>,
    pub recipients_files: Option<Vec<Text>>,
    pub manifest_key: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Observe {
    /// Servers to ask instead of those that the delegation names.
    pub nameservers: Option<Vec<Text>>,
    /// The same for single zones.
    pub zones: BTreeMap<Text, Vec<Text>>,
    /// The resolvers that find the name servers, instead of /etc/resolv.conf.
    pub recursives: Option<Vec<Text>>,
    /// `ipv4`, `ipv6`, or both.
    pub families: Option<Vec<Text>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fleet {
    /// `"1"`, `"1%"`, `"10%"`: the sizes of the first waves.
    pub canary: Option<Vec<Text>>,
    pub failure_budget: Option<Text>,
}

/// [`dkimctl_state::lifecycle::policy::Policy`], with each length of time as its text.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    pub window: Option<Text>,
    pub queue_lifetime: Option<Text>,
    pub retire_safety: Option<Text>,
    pub publish_safety: Option<Text>,
    pub sweep_gap: Option<Text>,
    pub propagation: Option<Text>,
    pub negative_floor: Option<Text>,
    pub negative_unknown: Option<Text>,
    pub rollback_grace: Option<Text>,
    pub revoked_retention: Option<Text>,
    pub key_age_notice: Option<Text>,
    pub poll: Option<Text>,
    pub clock_tolerance: Option<Text>,
    pub lab: Option<bool>,
}

/// The columns that the header line of a domains file may name, in the order of a file without one.
pub const COLUMNS: [&str; 6] = ["name", "provider", "signer", "selectors", "ttl", "rsa_bits"];
