//! DEV001.

use crate::doctor::finding::{Said, Severity};

pub fn none(file: &str, caught: usize) -> String {
    match caught {
        0 => format!("{file} has no mail catcher"),
        _ => format!("{file} is for development, and may have a mail catcher"),
    }
}

pub fn unread(why: &str) -> Said {
    Said { evidence: format!("could not be read as a Compose file: {why}"), fix: "docker compose config -q".to_owned() }
}

pub fn not_followed() -> Said {
    Said {
        evidence: "what is taken over from other files (include, extends) was not followed".to_owned(),
        fix: "install Docker Compose, and run without --offline: its own reading follows them".to_owned(),
    }
}

pub fn catcher(service: &str, image: Option<String>, led: &[String], weight: Severity) -> Said {
    let image = image.map(|image| format!(" ({image})")).unwrap_or_default();
    let led = match led {
        [] => String::new(),
        services => format!("\n{} sends to it", services.join(", ")),
    };
    let doubt = match weight {
        Severity::Info => ", if this file is for production",
        _ => "",
    };
    Said {
        evidence: format!("service {service}{image} takes every message and delivers none{doubt}{led}"),
        fix: "move it into compose.override.yaml or compose.dev.yaml, or give it `profiles: [dev]`".to_owned(),
    }
}
