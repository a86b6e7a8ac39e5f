//! KEY002 in Dockerfiles.

use crate::doctor::finding::Said;

const MOUNT: &str = "mount a directory of keys at run time instead: volumes: [\"./keys:/etc/opendkim/keys:ro\"]";

pub fn clean(file: &str) -> String {
    format!("{file} brings no private key into the image")
}

pub fn unread(why: &str) -> Said {
    Said { evidence: format!("could not be read as a Dockerfile: {why}"), fix: String::new() }
}

pub fn generated(program: &str) -> Said {
    Said {
        evidence: format!("{program} makes a private key while the image is built: everybody who pulls it has the key"),
        fix: format!("remove the line, let dkimctl make the key, and {MOUNT}"),
    }
}

pub fn in_variable() -> Said {
    Said {
        evidence:
            "a private key stands in the Dockerfile itself: it is in the image's configuration, and in its history"
                .to_owned(),
        fix: format!("remove the line, take the key out of use, and {MOUNT}"),
    }
}

pub fn copied(source: &str, keys: &[String], whole: bool) -> Said {
    let shown: Vec<&str> = keys.iter().take(3).map(String::as_str).collect();
    let more = keys.len().saturating_sub(3);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Said {
        evidence: format!(
            "`{source}` of the context holds a private key ({}{more}), which gets into the image",
            shown.join(", ")
        ),
        fix: match whole {
            true => format!("write `{}` into .dockerignore, and {MOUNT}", shown.first().unwrap_or(&"keys/")),
            false => format!("remove the line, and {MOUNT}"),
        },
    }
}

pub fn named_like_key(source: &str) -> Said {
    Said {
        evidence: format!("`{source}` is named like a private key, and gets into the image"),
        fix: format!("remove the line, and {MOUNT}"),
    }
}
