//! What the doctor says of private keys in images. No sentence holds a key: only names, places, and whose it is.

use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::name::Fqdn;

use crate::doctor::finding::Said;
use crate::doctor::image::judge::{Owner, Verdict, is_snakeoil};
use crate::doctor::image::{Form, Gone, Image, KeyFound, Kind, Layer, Place, Unscanned, Why};

pub const NOT_ASKED: &str = "more names than are asked for one image";
pub const NO_SERVER: &str = "no name server of it was found";
pub const OUR_LEDGER: &str = "the keys of our ledger";
pub const OFFLINE: &str = "nothing is asked with --offline";

/// What a finding is about: one place in one image.
pub fn about(image: &Image, found: &KeyFound) -> String {
    match &found.place {
        Place::File { layer: Some(Layer { number, .. }), path, .. } => format!("{} layer {number}: {path}", image.name),
        Place::File { layer: None, path, .. } => format!("{}: {path}", image.name),
        Place::Setting { what } => format!("{}: {what}", image.name),
    }
}

/// A key that receivers trust.
pub fn live(image: &Image, found: &KeyFound, verdict: &Verdict<'_>) -> Said {
    let place = place(found);
    let anyone = "Whoever can pull the image can sign mail as the domain, and deleting the file in a later layer or the \
                  tag changes nothing";
    match &verdict.owner {
        Owner::Ours { domain, selector, phase } => {
            let name = selector.record_name(domain);
            let seen = match (&verdict.shown_at, &verdict.unasked) {
                (Some(at), _) => format!("live at {at}"),
                (None, Some((_, why))) => format!("{phase} by our ledger; DNS could not be asked ({why})"),
                (None, None) => format!("{phase} by our ledger, though DNS does not show it now"),
            };
            Said {
                evidence: format!("{place} is the private key of {name}, {seen}. {anyone}."),
                fix: format!(
                    "dkimctl revoke {domain} --selector {selector} --reason \"private key in image {}\"\n\
                     Then build the image without it: a .dockerignore line for the keys, and a mounted directory.",
                    image.name
                ),
            }
        }
        Owner::InDns { domain, selector } => Said {
            evidence: format!("{place} is the private key of {}, live in DNS. {anyone}.", selector.record_name(domain)),
            fix: format!(
                "dkimctl holds no such key, so it cannot revoke it: let another selector sign ({}), then empty p= of {} \
                 at its DNS host.\nThen build the image without it: a .dockerignore line for the keys, and a mounted \
                 directory.",
                format_args!("dkimctl rotate {domain}"),
                selector.record_name(domain)
            ),
        },
        // Live is either by the ledger or by a record.
        Owner::Nobody => not_live(image, found, verdict),
    }
}

/// A whole key that no record shows.
pub fn not_live(_: &Image, found: &KeyFound, verdict: &Verdict<'_>) -> Said {
    let place = place(found);
    let mount = "Build the image without it: a .dockerignore line for the keys, and a mounted directory.".to_owned();
    match &verdict.owner {
        Owner::Ours { domain, selector, phase } => {
            let name = selector.record_name(domain);
            let fix = match phase {
                Phase::Sealed => format!("dkimctl revoke {domain} --selector {selector}\n{mount}"),
                _ => mount,
            };
            Said { evidence: format!("{place} is a private key of ours: {name}, {phase}, not live."), fix }
        }
        _ if is_snakeoil(found) => Said {
            evidence: format!(
                "{place} is Debian's test certificate's key (ssl-cert), not a DKIM key. It is the same in every container of \
                 this image, so it protects nothing."
            ),
            fix: String::new(),
        },
        _ => {
            let asked = match &verdict.unasked {
                Some((name, why)) => format!("; whether it is the key of {name} could not be asked ({why})"),
                None => ", in no record that was asked for".to_owned(),
            };
            let kind = match &found.kind {
                Kind::Whole { algorithm, .. } => algorithm.as_str(),
                _ => "private",
            };
            Said { evidence: format!("{place} is a private {kind} key, not one of ours{asked}."), fix: mount }
        }
    }
}

/// Something of a key whose public half is not to be had.
pub fn not_whole(_: &Image, found: &KeyFound) -> Said {
    let place = place(found);
    let evidence = match &found.kind {
        Kind::Encrypted => format!("{place} is an encrypted private key: whose it is, only its passphrase tells."),
        Kind::CutShort => format!(
            "{place} begins like a private key and ends too early: whose it is cannot be told, and the rest may be \
             elsewhere in the image."
        ),
        Kind::HeaderAlone => format!(
            "{place} holds the first line of a private key and nothing after it, as an env file does to a value of \
             several lines: a signer given this has no key."
        ),
        Kind::Foreign(what) => format!("{place} is an {what}: it signs no mail, but it is a secret all the same."),
        Kind::AgeIdentity => {
            format!("{place} is an age identity: whoever can pull the image opens every key that was sealed to it.")
        }
        Kind::Whole { .. } => format!("{place} is a private key."),
    };
    let fix = match found.kind {
        Kind::AgeIdentity => {
            "Make a new identity on the host, seal to it (dkimctl secrets rewrap), rotate the keys that the old one opened, \
             and build the image without it."
        }
        _ => "Build the image without it, and mount what it needs as a file.",
    };
    Said { evidence, fix: fix.to_owned() }
}

/// Whether a key is live is not known.
pub fn unasked(_: &Image, found: &KeyFound, name: &Fqdn, why: &str) -> Said {
    Said {
        evidence: format!("{} may be the key of {name}, which could not be asked for: {why}.", place(found)),
        fix: format!("dig +short TXT {name}"),
    }
}

pub fn too_many_names(image: &str, beyond: usize, first: &Fqdn) -> Said {
    Said {
        evidence: format!("{beyond} more selectors that {image} speaks of were not asked for, {first} among them."),
        fix: String::new(),
    }
}

/// Something that was not looked into.
pub fn unscanned(image: &Image, Unscanned { what, why }: &Unscanned) -> Said {
    let gib =
        |octets: &u64| if *octets >= 1 << 30 { format!("{} GiB", octets >> 30) } else { format!("{octets} octets") };
    let evidence = match why {
        Why::TooMuch { limit } => {
            format!("{what}: more than {} when unpacked; what came after that was not looked at.", gib(limit))
        }
        Why::TooManyFiles { limit } => format!("{what}: more than {limit} files; the others were not looked at."),
        Why::TooManyKeys { limit } => format!("{what}: more than {limit} private keys; the others are not listed."),
        Why::Missing => format!("{what} is not in the archive, so it was not looked at."),
        Why::NotALayer => {
            format!("{what} is neither tar, gzip, zstd nor xz (bzip2, or encrypted?), so it was not looked into.")
        }
        Why::Damaged(how) => format!("{what} is damaged ({how}); what could be read was searched."),
        Why::NotDescribed(how) => format!("{what} is not understood ({how}), so layers have no numbers here."),
    };
    Said { evidence, fix: format!("docker save -o image.tar IMAGE, and again: dkimctl doctor --image {}", image.name) }
}

pub fn nothing_live(image: &Image, asked: usize) -> String {
    let keys = image.keys.iter().filter(|found| matches!(found.kind, Kind::Whole { .. })).count();
    match (keys, asked) {
        (0, _) => format!("no private key in {}", searched(image)),
        (keys, 0) => format!("{} in {}, none of ours, and no selector to ask for", count(keys), searched(image)),
        (keys, 1) => format!("{} in {}, not live; 1 selector asked", count(keys), searched(image)),
        (keys, asked) => format!("{} in {}, not live; {asked} selectors asked", count(keys), searched(image)),
    }
}

pub fn nothing_found(image: &Image) -> String {
    format!("no private key in its configuration, its history, {}", searched(image))
}

pub fn ledger_unread(why: &str) -> Said {
    Said {
        evidence: format!("Our own keys are not known ({why}), so keys in the image were only compared with DNS."),
        fix: "dkimctl status".to_owned(),
    }
}

/// The image could not be looked at.
pub fn unread(error: &str) -> Said {
    Said { evidence: error.to_owned(), fix: String::new() }
}

fn searched(image: &Image) -> String {
    let plural = |count: u64, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    let opened = match image.opened {
        0 => String::new(),
        opened => format!(", {} in them looked into", plural(opened, "archive or compressed file")),
    };
    let closed = match image.closed {
        0 => String::new(),
        1 => "; 1 compressed file inside could not be opened".to_owned(),
        closed => format!("; {closed} compressed files inside could not be opened"),
    };
    format!("{} and {}{opened}{closed}", plural(image.layers as u64, "layer"), plural(image.files, "file"))
}

fn count(keys: usize) -> String {
    if keys == 1 { "1 private key".to_owned() } else { format!("{keys} private keys") }
}

/// Where it is: `layer 3/9 (COPY keys/ /etc/opendkim/keys/): etc/opendkim/...`.
fn place(found: &KeyFound) -> String {
    let form = match found.form {
        Form::Pem | Form::Age => "",
        Form::Base64Pem => " (PEM in base64)",
        Form::Base64Der => " (DER in base64)",
        Form::Der => " (DER)",
        Form::Seed => " (a bare Ed25519 key)",
    };
    match &found.place {
        Place::Setting { what } => format!("the configuration, {what},{form}"),
        Place::File { layer, path, aliases, gone } => {
            let mut text = match layer {
                Some(Layer { number, of, made_by, image }) => {
                    let image = image.as_ref().map(|name| format!("{name}, ")).unwrap_or_default();
                    let made_by = made_by.as_ref().map(|line| format!(" ({line})")).unwrap_or_default();
                    format!("{image}layer {number}/{of}{made_by}: {path}{form}")
                }
                None => format!("in the archive beside the layers: {path}{form}"),
            };
            if let Some(alias) = aliases.first() {
                text.push_str(&format!(" (also {alias})"));
            }
            match gone {
                Some(Gone::Deleted { layer }) => {
                    text.push_str(&format!(", deleted again in layer {layer} and still extractable,"));
                }
                Some(Gone::Replaced { layer }) => {
                    text.push_str(&format!(", replaced in layer {layer} and still extractable,"));
                }
                None => {}
            }
            text
        }
    }
}
