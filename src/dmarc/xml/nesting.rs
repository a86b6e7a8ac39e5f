//! Which element is inside of which: what is open, what nobody knows, what was never closed.

use dkimctl_state::lifecycle::staging::evidence::clean;

use super::element::{El, child};
use super::{Refused, Run, Stop};
use crate::dmarc::limits;

impl Run {
    pub(super) fn open(&mut self, name: &str) -> Result<(), Stop> {
        if self.begins.len() >= limits::DEPTH {
            return Err(Stop::Broken(format!("elements are nested deeper than {}", limits::DEPTH)));
        }
        let name = &*lower(name);
        self.begins.push(self.names.len());
        self.names.push_str(name);
        if self.closed {
            if name == "feedback" {
                self.error("a second report follows in the same document, and was not read".to_owned());
            }
            self.skipping += 1;
            return Ok(());
        }
        if self.skipping > 0 {
            if name == "record" {
                self.lost += 1;
                let inside = clean(self.name_at(self.begins.len() - 1 - self.skipping), 60).into_owned();
                self.error(format!("a record inside <{inside}>, where none belongs, was not read"));
            }
            self.skipping += 1;
            return Ok(());
        }
        let known = match self.stack.last() {
            None if name == "feedback" => {
                self.began = true;
                Some(El::Feedback)
            }
            // Some reporters put the schema's element around the report, and never close it.
            None if name == "schema" => {
                self.wrappers += 1;
                return Ok(());
            }
            None if self.wrappers > 0 => None,
            None => return Err(Stop::Refused(Refused::Root(clean(name, 60).into_owned()))),
            Some(parent) => child(*parent, name),
        };
        match known {
            Some(el) => {
                if el == El::Record {
                    self.draft.clear();
                } else if let El::In(part) = el {
                    self.draft.open(part);
                }
                self.stack.push(el);
                self.text.clear();
                self.cut = false;
            }
            None => self.skipping = 1,
        }
        Ok(())
    }

    fn name_at(&self, index: usize) -> &str {
        let end = self.begins.get(index + 1).copied().unwrap_or(self.names.len());
        &self.names[self.begins[index]..end]
    }

    fn forget_name(&mut self) {
        if let Some(begin) = self.begins.pop() {
            self.names.truncate(begin);
        }
    }

    /// Closes the innermost element of this name. What is open inside it was never closed, and that is told.
    pub(super) fn end(&mut self, name: &str) {
        let name = &*lower(name);
        let Some(place) = (0..self.begins.len()).rev().find(|index| self.name_at(*index) == name) else {
            let name = clean(name, 60).into_owned();
            return match self.closed {
                true => self.note(|| format!("after the end of the report: a stray </{name}>")),
                false => self.error(format!("a stray </{name}>")),
            };
        };
        while self.begins.len() > place + 1 {
            let inner = clean(self.name_at(self.begins.len() - 1), 60).into_owned();
            self.error(format!("<{inner}> is never closed"));
            self.forget_name();
            if self.skipping > 0 {
                self.skipping -= 1;
            } else {
                match self.stack.pop() {
                    Some(El::In(_)) => self.draft.refuse(format!("<{inner}> in it is never closed")),
                    Some(El::Record) => self.lost += 1,
                    Some(_) => {}
                    None => self.wrappers -= 1,
                }
            }
        }
        self.forget_name();
        self.close();
    }

    pub(super) fn add(&mut self, text: &str) {
        if self.skipping > 0 || self.closed {
            return;
        }
        if self.text.len() + text.len() > limits::VALUE {
            self.cut = true;
        } else {
            self.text.push_str(text);
        }
    }

    fn close(&mut self) {
        if self.skipping > 0 {
            self.skipping -= 1;
            return;
        }
        let Some(el) = self.stack.pop() else {
            self.wrappers = self.wrappers.saturating_sub(1);
            return;
        };
        let text = std::mem::take(&mut self.text);
        if self.cut {
            self.error(format!("a value of more than {} octets was not read", limits::VALUE));
            self.cut = false;
        }
        self.leaf(el, text.trim());
        self.text = text;
        self.text.clear();
    }
}

/// A name without its case, and without more of it than anybody compares.
fn lower(name: &str) -> std::borrow::Cow<'_, str> {
    const LONGEST: usize = 255;
    let name = if name.len() <= LONGEST { name } else { &name[..name.floor_char_boundary(LONGEST)] };
    match name.bytes().any(|b| b.is_ascii_uppercase()) {
        true => name.to_ascii_lowercase().into(),
        false => name.into(),
    }
}
