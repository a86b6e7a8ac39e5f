//! The examination of an image, as the doctor runs it: walk, ask DNS, judge.

use dkimctl_state::name::Fqdn;

use super::judge::{self, Shown};
use super::source;
use super::walk::Limits;
use crate::doctor::finding::{Findings, Tier};
use crate::doctor::live;
use crate::doctor::patient::{Image, Patient};
use crate::observe::configured;
use crate::report::doctor::image as said;

/// KEY001 and KEY002 for the image that was named, if one was.
pub fn examine(patient: &Patient, findings: &mut Findings) {
    let Some(image) = &patient.image else { return };
    let about = match image {
        Image::Named(name) => name.clone(),
        Image::Archive(path) => path.display().to_string(),
    };
    let walked = match source::walk(image, &*patient.engine, &Limits::default()) {
        Ok(walked) => walked,
        Err(error) => {
            for id in ["KEY001", "KEY002"] {
                findings.unknown(id, Tier::Files, &about, said::unread(&error.to_string()));
            }
            return;
        }
    };
    if let Some(why) = &patient.ours.unread {
        findings.unknown("KEY001", Tier::Files, said::OUR_LEDGER, said::ledger_unread(why));
    }
    judge::judge(&walked, &patient.ours.keys, &|names| ask(patient, names), findings);
}

/// The authoritative servers, as the configuration says where they are, else as the delegation does.
fn ask(patient: &Patient, names: &[Fqdn]) -> Vec<Shown> {
    if patient.offline {
        let offline = Shown { texts: Vec::new(), unknown: Some(said::OFFLINE.to_owned()) };
        return vec![offline; names.len()];
    }
    let sweeper = configured::sweeper(&live::observe(patient));
    sweeper.sweep(names, patient.now).iter().map(judge::shown).collect()
}
