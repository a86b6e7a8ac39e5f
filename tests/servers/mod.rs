//! Real servers, started for one test and gone with it.

pub mod opendkimd;
