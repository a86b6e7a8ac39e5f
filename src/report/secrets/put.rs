//! What `secrets deliver --host` put where a signer opens it.

use std::fmt::Write as _;
use std::path::PathBuf;

use dkimctl_state::name::{Selector, SigningDomain};
use serde::Serialize;

use crate::host::run::DeliveredKey;
use crate::report::{Paint, Report};

#[derive(Debug, Serialize)]
pub struct PutReport {
    keys: Vec<Put>,
}

#[derive(Debug, Serialize)]
struct Put {
    domain: SigningDomain,
    selector: Selector,
    /// The first digits of the key's fingerprint.
    key: String,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Written,
    Already,
    Refused,
}

impl PutReport {
    pub fn new(keys: Vec<DeliveredKey>) -> Self {
        let put = |key: DeliveredKey| {
            let (outcome, path, why) = match key.outcome {
                Ok(delivered) if delivered.wrote => (Outcome::Written, Some(delivered.path), None),
                Ok(delivered) => (Outcome::Already, Some(delivered.path), None),
                Err(why) => (Outcome::Refused, None, Some(why)),
            };
            Put { domain: key.domain, selector: key.selector, key: key.fingerprint.short(), outcome, path, why }
        };
        PutReport { keys: keys.into_iter().map(put).collect() }
    }

    /// Nothing that cron would have to mail.
    pub fn is_quiet(&self) -> bool {
        self.keys.iter().all(|put| put.outcome == Outcome::Already)
    }

    pub fn is_complete(&self) -> bool {
        self.keys.iter().all(|put| put.outcome != Outcome::Refused)
    }
}

impl Report for PutReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for Put { domain, selector, key, outcome, path, why } in &self.keys {
            let mark = match outcome {
                Outcome::Written => paint.green("wrote "),
                Outcome::Already => "there ".to_owned(),
                Outcome::Refused => paint.red("FAIL  "),
            };
            let path = path.as_ref().map(|path| path.display().to_string());
            let said = why.as_ref().or(path.as_ref()).map_or("", String::as_str);
            let _ = writeln!(out, "{mark}{domain} {selector} ({key}) {said}");
        }
        out
    }
}
