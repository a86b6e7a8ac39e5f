//! Private keys in real images: built by docker, umoci and skopeo, in every layout that they write, and looked up in a
//! real BIND. And archives that nobody sane would write.

#[path = "../servers/mod.rs"]
mod servers;

mod builders;
mod engine;
mod hostile;
mod layouts;
mod live;
mod nested;
mod planted;
