//! KEY006 and DKIM006.

use dkimctl_state::name::SigningDomain;

use crate::doctor::finding::Said;
use crate::doctor::signer::Kind;
use crate::signers::opendkim::tables::TableError;
use crate::signers::replace::FileError;

pub fn broken_table(error: &TableError) -> Said {
    Said { evidence: error.to_string(), fix: "correct the line; dkimctl rotate writes both tables itself".to_owned() }
}

/// What a key that is not there costs.
fn costs(kind: Kind) -> &'static str {
    match kind {
        Kind::OpenDkim => "OpenDKIM answers 451 to all its mail",
        Kind::Rspamd => "rspamd lets its mail pass unsigned",
    }
}

pub fn no_such_key(kind: Kind, name: &str, key_table: &str) -> Said {
    Said {
        evidence: format!("this row signs with `{name}`, which {key_table} does not have: {}", costs(kind)),
        fix: "add the key to the KeyTable, or name one that is there".to_owned(),
    }
}

pub fn dead_wildcard() -> Said {
    Said {
        evidence: "a wildcard in a `file:` table is literal and matches nothing: mail leaves unsigned".to_owned(),
        fix: "write `SigningTable refile:` in opendkim.conf".to_owned(),
    }
}

pub fn shadowed(short: &SigningDomain, long: &SigningDomain) -> Said {
    Said {
        evidence: format!(
            "rspamd looks for a row inside of the address, so `*@{short}` stands for mail of {long} too, which is signed \
             with the key of {short} and fails DMARC"
        ),
        fix: "let another host, or OpenDKIM, sign for one of the two".to_owned(),
    }
}

pub fn tables_agree(rows: usize) -> String {
    format!("every row names a key that is there ({rows} in the KeyTable)")
}

pub fn no_tables() -> String {
    "this signer has no KeyTable and SigningTable".to_owned()
}

pub fn table_missing(error: &FileError) -> Said {
    Said { evidence: format!("{error}"), fix: "mount the directory of the tables, and not the single files".to_owned() }
}

pub fn key_missing(kind: Kind, path: &str) -> Said {
    Said {
        evidence: format!("the KeyTable names {path}, which is not in the container: {}", costs(kind)),
        fix: "deliver the key: dkimctl secrets deliver; or mount its directory".to_owned(),
    }
}

pub fn not_asked(why: &str) -> Said {
    Said { evidence: format!("could not be looked at: {why}"), fix: String::new() }
}

pub fn no_rewriting_relay(relay: &str) -> String {
    match relay {
        "" => "mail goes straight to the receivers".to_owned(),
        relay => format!("{relay} is not known to rewrite headers"),
    }
}

pub fn leaves_out(relay: &str) -> String {
    format!("what {relay} rewrites is not signed")
}

pub fn signs_rewritten(kind: Kind, relay: &str, headers: &[&str]) -> Said {
    let (signer, fix) = match kind {
        Kind::OpenDkim => ("OpenDKIM", "in opendkim.conf: SignHeaders *,-Date,-Message-ID,-Return-Path,-Bounces-To"),
        Kind::Rspamd => (
            "rspamd",
            "in local.d/dkim.conf, without those two: sign_headers = \"(o)from:(o)reply-to:(o)subject:(o)to:(o)cc:...\"",
        ),
    };
    Said {
        evidence: format!(
            "mail goes through {relay}, which rewrites {}, and {signer} signs it: the signature breaks on the way",
            headers.join(" and ")
        ),
        fix: fix.to_owned(),
    }
}
