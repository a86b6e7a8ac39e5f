//! The hosts that are reached through the crate `dns-update`, with what each of them cannot do. Known whether or not the
//! adapter is built, so that `dns providers` can say it.

/// One host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// What `server = "..."` says.
    pub code: &'static str,
    pub name: &'static str,
    /// The lines of the secret's file.
    pub secrets: &'static [&'static str],
    /// Seconds.
    pub min_ttl: u32,
    /// Octets of one text.
    pub max_text: usize,
    /// Whether the crate shows a zone that the host has not as one without records.
    pub hides_absence: bool,
    /// What it cannot do, in a sentence.
    pub caveat: &'static str,
}

/// Long enough for any key.
const ANY: usize = 3_000;

/// In alphabetical order.
pub const HOSTS: &[Host] = &[
    Host {
        code: "bunny",
        name: "Bunny DNS",
        secrets: &["API key"],
        min_ttl: 15,
        max_text: ANY,
        hides_absence: false,
        caveat: "a replaced value is deleted and created again, so for a moment there is none",
    },
    Host {
        code: "desec",
        name: "deSEC",
        secrets: &["token"],
        min_ttl: 3600,
        max_text: ANY,
        hides_absence: true,
        caveat: "TTLs from an hour on; 15 writes a minute and 300 a day for a domain, so large fleets take days",
    },
    Host {
        code: "digitalocean",
        name: "DigitalOcean",
        secrets: &["token"],
        min_ttl: 30,
        max_text: 500,
        hides_absence: false,
        caveat: "no text of more than 500 octets, so RSA keys of 2048 bits and not of 4096; backslashes are broken",
    },
    Host {
        code: "gandi",
        name: "Gandi LiveDNS",
        secrets: &["personal access token"],
        min_ttl: 300,
        max_text: ANY,
        hides_absence: true,
        caveat: "TTLs from five minutes on; the value is sent as one string and split by Gandi",
    },
    Host {
        code: "hetzner",
        name: "Hetzner (Cloud API)",
        secrets: &["token"],
        min_ttl: 60,
        max_text: ANY,
        hides_absence: true,
        caveat: "value and TTL are two actions that Hetzner performs later; zones of the old DNS console are not seen",
    },
    Host {
        code: "linode",
        name: "Linode (Akamai)",
        secrets: &["token"],
        min_ttl: 30,
        max_text: ANY,
        hides_absence: false,
        caveat: "TTLs are rounded to Linode's own steps, so a `ttl` other than 300, 3600, 7200 ... is never seen as right",
    },
    Host {
        code: "porkbun",
        name: "Porkbun",
        secrets: &["API key", "secret API key"],
        min_ttl: 600,
        max_text: ANY,
        hides_absence: false,
        caveat: "after 10 to 20 calls it answers with an error page for a while; a replaced value is deleted first",
    },
    Host {
        code: "vultr",
        name: "Vultr",
        secrets: &["API key"],
        min_ttl: 120,
        max_text: ANY,
        hides_absence: false,
        caveat: "one call a record, and no conditions",
    },
];

/// The host of this code.
pub fn host(code: &str) -> Option<&'static Host> {
    HOSTS.iter().find(|host| host.code == code)
}

/// What is true of all of them.
pub const CAVEATS: &str = "one record a call; a whole name is set, so only selector names that hold nothing but our record \
                           are written; no TTL is told, so all records of the provider have one (`default_ttl`); no \
                           zones are told, so they are listed in the configuration; every write is read back";
