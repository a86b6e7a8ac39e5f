//! Keys that sign, and the records that receivers see.

use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dkim::PublicKey;
use dkimctl_state::time::Time;

use crate::doctor::dkim::{Key, Wrong};
use crate::doctor::finding::Said;

fn said(evidence: impl Into<String>, fix: impl Into<String>) -> Said {
    Said { evidence: evidence.into(), fix: fix.into() }
}

pub fn no_key() -> String {
    "no key is known to sign: neither a state nor a signer was named".to_owned()
}

pub fn probe_compares() -> String {
    "the public half of the key is not known here: DKIM005 compares by a signature".to_owned()
}

pub fn same_key(key: &Key) -> String {
    format!("{} shows the key that signs", key.name())
}

pub fn whole(key: &Key, servers: usize) -> String {
    match servers {
        1 => format!("{} is whole at the one address that serves it", key.name()),
        many => format!("{} is whole at all {many} addresses that serve it", key.name()),
    }
}

pub fn unknown(key: &Key, why: &[String]) -> Said {
    said(
        format!("{} could not be asked for everywhere, which is not a finding: {}", key.name(), why.join("; ")),
        format!("ask again later: dig TXT {} +trace", key.name()),
    )
}

pub fn other_key(key: &Key, servers: &[(&str, Wrong)], seen: &PublicKey) -> Said {
    let ours = key.public.as_ref().map(|public| public.fingerprint().short()).unwrap_or_default();
    said(
        format!(
            "{} signs mail of {} with the key {ours}, and {} shows {} at {}: every signature fails",
            key.selector,
            key.domain,
            key.name(),
            seen.fingerprint().short(),
            names(servers)
        ),
        publish(key),
    )
}

pub fn broken(key: &Key, servers: &[(&str, Wrong)]) -> Said {
    let what = match servers.first().map(|(_, wrong)| wrong) {
        Some(Wrong::Missing) | None => "there is no record".to_owned(),
        Some(Wrong::Dangling { target }) => format!("it is an alias of {target}, where there is no record"),
        Some(Wrong::Revoked) => "`p=` is empty, which says that the key is revoked".to_owned(),
        Some(Wrong::Several(count)) => {
            format!("there are {count} TXT records, of which a receiver takes any one (RFC 6376 section 3.6.2.2)")
        }
        Some(Wrong::Cut(count)) => {
            format!("the key was cut into {count} records; it has to be one record of several strings: \"...\" \"...\"")
        }
        Some(Wrong::Malformed { text, why }) => format!("{} is no key record: {why}", text.beginning()),
        Some(Wrong::Other(_)) => "it shows another key".to_owned(),
    };
    said(
        format!("{}: {what}, at {}. No signature of {} verifies there", key.name(), names(servers), key.selector),
        publish(key),
    )
}

pub fn gone_too_early(key: &Key, servers: &[(&str, Wrong)]) -> Said {
    said(
        format!(
            "{} signs no more, but mail that it signed is still under way (in queues for 5 days, in mailboxes for \
             longer), and {} is not as it was at {}: that mail does not verify any more",
            key.selector,
            key.name(),
            names(servers)
        ),
        publish(key),
    )
}

pub fn short(key: &Key, bits: usize) -> Said {
    said(
        format!(
            "{} is an RSA key of {bits} bits; 2048 are what receivers expect (RFC 8301 section 3.2), and less than 1024 \
             are refused",
            key.name()
        ),
        format!("dkimctl rotate {}", key.domain),
    )
}

pub fn not_rsa(key: &Key) -> Said {
    said(
        format!("the `p=` of {} is no RSA public key that verifiers agree upon", key.name()),
        format!(
            "publish it as SubjectPublicKeyInfo: openssl rsa -in KEY -pubout -outform DER | base64 -w0\n{}",
            publish(key)
        ),
    )
}

pub fn testing(key: &Key) -> Said {
    said(
        format!("{} says t=y: receivers may treat its signatures as if there were none", key.name()),
        format!("remove `t=y` from the record; then: dig +short TXT {}", key.name()),
    )
}

pub fn no_sha256(key: &Key) -> Said {
    said(
        format!("{} allows no sha256 (h=), and SHA-1 is refused (RFC 8301 section 3.1)", key.name()),
        "remove `h=` from the record",
    )
}

pub fn not_for_mail(key: &Key) -> Said {
    said(format!("{} is not for mail (s=)", key.name()), "remove `s=` from the record")
}

pub fn sha1() -> Said {
    said(
        "the signer is told to sign with rsa-sha1, which verifiers must not accept (RFC 8301 section 3.1)",
        "write `SignatureAlgorithm rsa-sha256` in opendkim.conf",
    )
}

pub fn ed25519_alone(domain: &SigningDomain) -> Said {
    said(
        format!(
            "mail of {domain} is signed with Ed25519 alone. Yahoo and others report such signatures as an error \
             (perm_fail, 0-bit key), and that mail counts as unsigned"
        ),
        format!("add an RSA selector: algorithms = [\"rsa\", \"ed25519\"], then dkimctl rotate {domain}"),
    )
}

pub fn strong(key: &Key) -> String {
    format!("{} is a record that every receiver accepts", key.name())
}

pub fn overdue(key: &Key, due: Time) -> Said {
    said(
        format!("{} of {} signs for longer than it should: a new key was due on {due}", key.selector, key.domain),
        format!("dkimctl rotate {}", key.domain),
    )
}

pub fn young(key: &Key, due: Time) -> String {
    format!("{} of {} is due for rotation on {due}", key.selector, key.domain)
}

pub fn signed(domain: &SigningDomain) -> String {
    format!("the signer signed a message of {domain}, and the signature verifies by DNS")
}

pub fn not_signed(seen: &str) -> Said {
    said(
        format!("a message that the signer was given did not come back with a good signature: {seen}"),
        "look at the signer's log (OpenDKIM's with `LogWhy yes`); with `milter_default_action = accept` such mail leaves unsigned, so \
         write `milter_default_action = tempfail`",
    )
}

pub fn unprobed(why: &str) -> Said {
    said(
        format!("whether mail is signed is not known: {why}"),
        "run it as root on the host of the container, while the signer runs",
    )
}

pub fn no_signer(why: &str) -> Said {
    said(format!("the signer could not be looked at: {why}"), "name its container: --container NAME")
}

/// The exact record, where it is known.
fn publish(key: &Key) -> String {
    match &key.record {
        Some(text) => format!(
            "publish at {}, one TXT record: {}\ncheck: dig +short TXT {}",
            key.name(),
            text.quoted(),
            key.name()
        ),
        None => format!(
            "publish the record of the key that signs: opendkim-genkey wrote it beside the key as {}.txt, \
             `rspamadm dkim_keygen` printed it\ncheck: dig \
             +short TXT {}",
            key.selector,
            key.name()
        ),
    }
}

fn names(servers: &[(&str, Wrong)]) -> String {
    servers.iter().map(|(server, _)| *server).collect::<Vec<_>>().join(", ")
}
