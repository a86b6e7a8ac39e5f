//! What stands in the header of a message, read as it is really written: [`header`] finds the fields, [`authres`] and
//! [`received`] read two kinds of them. Whose words they are is not decided here.

pub mod authres;
pub mod header;
pub mod received;
