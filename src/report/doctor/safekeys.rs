//! Keys that the signer may read, and nobody else.

use crate::doctor::finding::Said;
use crate::doctor::signer::{Facts, KeyFile, Kind};
use crate::signers::safekeys::Problem;

pub fn no_keys() -> String {
    "the signer's table names no key file".to_owned()
}

pub fn not_there(why: &str) -> Said {
    Said {
        evidence: format!("the signer's keys could not be looked at: {why}"),
        fix: "run it where the signer runs, or name its container: --container NAME".to_owned(),
    }
}

pub fn no_signer() -> String {
    "no signer was named to look at".to_owned()
}

pub fn opens(key: &KeyFile, facts: &Facts) -> String {
    format!("{} may be read by {} and by nobody else", key.path.display(), facts.identity.name)
}

pub fn refuses(key: &KeyFile, problems: &[Problem], facts: &Facts, container: Option<&str>, refused: bool) -> Said {
    let user = &facts.identity;
    let seen: Vec<String> =
        problems.iter().map(|problem| format!("{} {}", problem.path.display(), problem.seen)).collect();
    let runs = if facts.running { "runs" } else { "is configured to run" };
    let record = &key.record;
    let (signer, outcome) = match (facts.kind, refused) {
        (Kind::OpenDkim, true) => ("OpenDKIM", format!("so it answers 451 to every message of {record}")),
        (Kind::OpenDkim, false) => ("OpenDKIM", format!("so others may read or replace the key of {record}")),
        (Kind::Rspamd, true) => (
            "rspamd",
            format!("so it has no key {record}: mail leaves unsigned, or waits where a rule holds unsigned mail back"),
        ),
        (Kind::Rspamd, false) => (
            "rspamd",
            format!("so others may read or replace the key of {record}, and rspamd signs with it all the same"),
        ),
    };
    let inside = container.map(|name| format!("docker exec {name} ")).unwrap_or_default();
    let command = |problem: &Problem| match problem.command.contains(" && ") && container.is_some() {
        true => format!("{inside}sh -c '{}'", problem.command.replace('\'', r"'\''")),
        false => format!("{inside}{}", problem.command),
    };
    let mut commands: Vec<String> = problems.iter().map(command).collect();
    commands.dedup();
    let mounted = match container {
        Some(_) => {
            "\nif the key is mounted from the host, change it there, by number: Compose ignores uid, gid and mode of file \
             secrets"
        }
        None => "",
    };
    Said {
        evidence: format!("{signer} {runs} as {} (uid {}), and {}: {outcome}", user.name, user.uid, seen.join("; ")),
        fix: format!("{}{mounted}", commands.join("\n")),
    }
}
