//! KEY004 and KEY005.

use crate::doctor::finding::Said;
use crate::doctor::patient::OurKey;

pub fn access_of_host(service: &str, secrets: usize) -> String {
    let are = if secrets == 1 { "one secret" } else { "secrets" };
    format!("service {service} takes {are} from files as they lie on the host")
}

pub fn ignored_access(service: &str, secret: &str, set: &str) -> Said {
    let quoted = set.contains("mode: 0") || set.contains("mode: 3");
    let octal = if quoted { "" } else { "; in quotes, some versions even read the mode as a decimal number" };
    Said {
        evidence: format!(
            "service {service} takes the secret {secret} with `{set}`: Compose ignores that for secrets from files \
             (docker/compose#9648){octal}\nthe file keeps the owner and the mode that it has on the host, and OpenDKIM \
             answers 451 to every message if it may not read it"
        ),
        fix: format!(
            "mount a directory that belongs to the container's uid on the host, or let the entrypoint copy it:\n\
             install -m 0600 -o opendkim /run/secrets/{secret} /run/opendkim/keys/"
        ),
    }
}

pub fn no_key(files: usize) -> String {
    format!("no private key among {files} files")
}

pub fn too_many(files: usize) -> Said {
    Said {
        evidence: format!("only the first {files} files were looked at"),
        fix: "name the directory of the mail server: --files DIR".to_owned(),
    }
}

fn named(key: Option<&OurKey>) -> String {
    match key {
        Some(key) if key.is_live() => {
            format!("holds the key of {}._domainkey.{}, live in DNS", key.selector, key.domain)
        }
        Some(key) => format!("holds the key of {}._domainkey.{}", key.selector, key.domain),
        None => "holds a private key".to_owned(),
    }
}

fn rotate(key: Option<&OurKey>) -> String {
    match key {
        Some(key) => format!("dkimctl rotate {}", key.domain),
        None => "take the key out of use".to_owned(),
    }
}

pub fn tracked(path: &str, key: Option<&OurKey>) -> Said {
    Said {
        evidence: format!("{path} {}, and is tracked by git: every clone has it, for ever", named(key)),
        fix: format!("git rm --cached {path} && echo {path} >> .gitignore\n{}", rotate(key)),
    }
}

pub fn readable(path: &str, mode: u32, key: Option<&OurKey>) -> Said {
    let or_else = match key {
        Some(key) => format!("; if others use this machine: dkimctl rotate {}", key.domain),
        None => String::new(),
    };
    Said {
        evidence: format!("{path} {}, and may be read by everybody on this host (mode {mode:04o})", named(key)),
        fix: format!("chmod 0600 {path}, with the signer's uid as its owner{or_else}"),
    }
}

pub fn mode_unknown(path: &str, key: Option<&OurKey>) -> Said {
    Said {
        evidence: format!("{path} {}, and its owner and mode could not be asked for", named(key)),
        fix: format!("ls -l {path}"),
    }
}

pub fn well_kept(path: &str, mode: u32, is_repository: bool) -> String {
    let git = if is_repository { ", and not tracked by git" } else { "" };
    format!("{path} has mode {mode:04o}{git}")
}
