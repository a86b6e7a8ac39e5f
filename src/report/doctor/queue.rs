//! QUEUE001 and QUEUE002.

use crate::doctor::finding::Said;

fn volume(directory: &str) -> String {
    format!("volumes: [\"postfix-queue:{directory}\"]  (and `postfix-queue:` under the project's `volumes:`)")
}

pub fn kept(service: &str, directory: &str) -> String {
    format!("service {service} keeps {directory} outside of the container")
}

pub fn lost(service: &str, directory: &str) -> Said {
    Said {
        evidence: format!(
            "service {service} keeps its queue ({directory}) in the container itself: mail that waits is lost with it, \
             by `docker compose down` or an update"
        ),
        fix: volume(directory),
    }
}

pub fn anonymous(service: &str, directory: &str) -> Said {
    Said {
        evidence: format!(
            "service {service} keeps its queue ({directory}) on a volume without a name: the next container gets a new, \
             empty one"
        ),
        fix: volume(directory),
    }
}

pub fn in_memory(service: &str, directory: &str) -> Said {
    Said {
        evidence: format!("service {service} keeps its queue ({directory}) on a tmpfs: a restart loses it"),
        fix: volume(directory),
    }
}

pub fn written_elsewhere(service: &str) -> Said {
    Said {
        evidence: format!("only a part of service {service} stands here; its volumes may stand elsewhere"),
        fix: "look at what runs: dkimctl doctor --container NAME".to_owned(),
    }
}

pub fn not_known(service: &str) -> Said {
    Said {
        evidence: format!(
            "where the image of service {service} keeps its queue is not known, and no volume is at {}",
            "/var/spool/postfix"
        ),
        fix: "look at what runs: dkimctl doctor --container NAME".to_owned(),
    }
}

fn now_lost(count: Option<usize>) -> String {
    match count {
        Some(0) => "nothing waits now; what waits then is lost by `docker compose down`".to_owned(),
        Some(1) => "1 message waits now, and would be lost by `docker compose down`".to_owned(),
        Some(count) => format!("{count} messages wait now, and would be lost by `docker compose down`"),
        None => "what waits is lost by `docker compose down`".to_owned(),
    }
}

pub fn lost_in_force(directory: &str, count: Option<usize>) -> Said {
    Said {
        evidence: format!("the queue ({directory}) lies in the container itself\n{}", now_lost(count)),
        fix: volume(directory),
    }
}

pub fn anonymous_in_force(directory: &str, count: Option<usize>) -> Said {
    Said {
        evidence: format!("the queue ({directory}) lies on a volume without a name\n{}", now_lost(count)),
        fix: volume(directory),
    }
}

pub fn in_memory_in_force(directory: &str, count: Option<usize>) -> Said {
    Said {
        evidence: format!("the queue ({directory}) lies on a tmpfs, which a restart empties\n{}", now_lost(count)),
        fix: volume(directory),
    }
}

pub fn kept_on(directory: &str, source: &str, count: Option<usize>) -> String {
    let waiting = count.map(|count| format!(", {count} waiting")).unwrap_or_default();
    format!("{directory} on {source}{waiting}")
}

pub fn fresh(all: usize, deferred: usize) -> String {
    format!("{all} in the queue, {deferred} deferred, none old")
}

pub fn waiting(deferred: usize, oldest: i64, top: Option<(String, usize)>, check: Option<&str>) -> Said {
    let hours = oldest / 3600;
    let reason = top.map(|(reason, count)| format!("\nmost often ({count}): {reason}")).unwrap_or_default();
    let fix = match check {
        Some(check) => format!("that is {check}: dkimctl explain {check}; then: postqueue -f"),
        None => "mend that reason, then: postqueue -f".to_owned(),
    };
    Said { evidence: format!("{deferred} deferred, the oldest for {hours} h{reason}"), fix }
}

pub fn not_asked(why: &str) -> Said {
    Said { evidence: format!("could not be looked at: {why}"), fix: String::new() }
}
