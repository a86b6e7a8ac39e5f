//! Where a message ended up, and what the mailbox provider saw of it: folder, SPF, DKIM, DMARC, PTR, HELO, TLS.
//!
//! A probe goes through the real submission path to seed mailboxes ([`submit`]); what comes back is read as a file or
//! by IMAP ([`messages`], [`imap`]). [`trust`] says which fields of its header ([`crate::mail`]) the provider wrote,
//! [`evidence`] makes one value of them, and [`meaning`] says what it amounts to. A sender can write any field; nothing
//! that a sender could have written ever counts as a pass.

pub mod evidence;
pub mod family;
pub mod imap;
pub mod journal;
pub mod meaning;
pub mod messages;
pub mod probe;
pub mod submit;
pub mod trust;
