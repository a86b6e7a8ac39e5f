//! Where a message ended up, and what the mailbox provider saw of it: folder, SPF, DKIM, DMARC, PTR, HELO, TLS.
//!
//! A probe goes through the real submission path to seed mailboxes ([`submit`]); what comes back is read as a file or
//! by IMAP ([`messages`], [`imap`]). [`header`] finds the fields of a message, [`received`] and [`authres`] read two
//! kinds of them, [`trust`] says which of them the provider wrote, [`evidence`] makes one value of them, and [`meaning`] says
//! what it amounts to. A sender can write any field; nothing that a sender could have written ever counts as a pass.

pub mod authres;
pub mod evidence;
pub mod family;
pub mod header;
pub mod imap;
pub mod journal;
pub mod meaning;
pub mod messages;
pub mod probe;
pub mod received;
pub mod submit;
pub mod trust;
