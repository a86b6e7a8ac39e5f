//! Goes over an archive of images once, from its first octet to its last, and remembers of every blob what was in it.
//!
//! An archive is a stream: the description of the layers may come after them. So every member that is an archive is
//! searched as if it were a layer, every other one as a file ([`super::nested`]), and [`super::manifest`] says at the end
//! which was which. What belongs to no layer is told as well. Memory holds names of files and findings, never files.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read};
use std::path::Path;

use super::flow::{Keep, Metered, Peeked, TooMuch};
use super::nested::{Found, Searched};
use super::scan::{Hit, Scanner};
use super::source::ImageError;
use super::tarball::{self, Kind, Member, Next, Tarball};
use super::unpack::{self, Packing};
use super::{Image, Unscanned, Why, manifest};

/// How much is looked at. What is beyond it is named as not looked at.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Octets of one blob, unpacked: a bomb ends here.
    pub layer: u64,
    /// Octets of all blobs together, unpacked.
    pub all: u64,
    /// Files in all layers.
    pub files: u64,
    /// Archives in archives inside a layer.
    pub depth: usize,
    /// Octets of one file inside a layer, unpacked, and of all of them.
    pub inside: u64,
    pub all_inside: u64,
    /// Octets of one description (manifest, index, configuration) and of all of them.
    pub description: usize,
    pub descriptions: usize,
    pub keys: usize,
    /// Names of a kind that are held of one layer, to say what became of a file.
    pub names: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            layer: 64 << 30,
            all: 256 << 30,
            files: 10_000_000,
            depth: 3,
            inside: 4 << 30,
            all_inside: 64 << 30,
            description: 8 << 20,
            descriptions: 32 << 20,
            keys: 5_000,
            names: 1_000_000,
        }
    }
}

/// Everything that was in an archive.
#[derive(Debug, Default)]
pub struct Archive {
    pub blobs: BTreeMap<String, Blob>,
    /// Members that are links to others, as the older layout has them.
    pub links: BTreeMap<String, String>,
}

/// One member of the archive.
#[derive(Debug, Default)]
pub struct Blob {
    /// Its text, if it looks like JSON and is small.
    pub json: Option<Vec<u8>>,
    /// Keys in the member itself, if it is no archive.
    pub hits: Vec<Hit>,
    /// What is in it, if it is an archive.
    pub layer: Option<LayerSeen>,
}

/// What was in a layer.
#[derive(Debug, Default)]
pub struct LayerSeen {
    pub keys: Vec<Found>,
    pub whiteouts: Vec<Whiteout>,
    /// Hashes of the names of all files: enough to know that one came again.
    pub names: HashSet<u64>,
    pub hard_links: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whiteout {
    /// `.wh.NAME`: this path, and everything below it.
    Path(String),
    /// `.wh..wh..opq`: everything below this directory that lower layers had.
    Below(String),
}

impl LayerSeen {
    fn remember(&mut self, path: &str, limits: &Limits) {
        if self.names.len() < limits.names {
            self.names.insert(hash(path));
        }
    }
}

pub fn hash(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// A path as a layer means it: below its root, wherever dots and slashes seem to lead. Nothing is ever opened by it.
pub fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Walks over an archive.
pub fn archive(name: &str, input: impl Read, limits: &Limits) -> Result<Image, ImageError> {
    let mut walk = Walk::new(name, limits);
    let mut input = Peeked::new(input).map_err(|source| ImageError::Read { path: name.into(), source })?;
    let packing = unpack::packing(&input.head);
    let spent = Cell::new(0);
    let unpacked =
        Peeked::new(Metered { input: unpack::unpack(packing, &mut input), spent: &spent, limit: limits.all });
    match unpacked {
        Ok(unpacked) if tarball::is_tar(&unpacked.head) => walk.outer(Tarball::new(unpacked)),
        Ok(_) => return Err(ImageError::NoImage(name.to_owned())),
        Err(source) => return Err(ImageError::Read { path: name.into(), source }),
    }
    Ok(walk.finish())
}

/// Walks over an unpacked archive or an OCI image layout. Links that lead out of it are not followed.
pub fn directory(root: &Path, limits: &Limits) -> Result<Image, ImageError> {
    let mut walk = Walk::new(&root.display().to_string(), limits);
    if !["index.json", "manifest.json"].iter().any(|name| root.join(name).is_file()) {
        return Err(ImageError::NoImage(root.display().to_string()));
    }
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        let unread = |source| ImageError::Read { path: dir.clone(), source };
        for entry in fs::read_dir(&dir).map_err(unread)? {
            let path = entry.map_err(unread)?.path();
            let Ok(below) = path.strip_prefix(root) else { continue };
            let name = below.to_string_lossy().into_owned();
            let meta = fs::symlink_metadata(&path).map_err(unread)?;
            if meta.is_dir() {
                open.push(path);
            } else if meta.is_symlink() {
                let target = fs::read_link(&path).map_err(unread)?.to_string_lossy().into_owned();
                walk.link(&name, &target);
            } else if meta.is_file() {
                match File::open(&path) {
                    Ok(file) => walk.member(&name, file),
                    Err(error) => walk.unscanned(name, Why::Damaged(error.to_string())),
                }
            }
        }
    }
    Ok(walk.finish())
}

pub(super) struct Walk<'a> {
    pub(super) limits: &'a Limits,
    archive: Archive,
    pub(super) image: Image,
    /// Octets of everything that was unpacked, and of what was unpacked inside layers.
    spent: u64,
    pub(super) spent_inside: u64,
    /// Octets of descriptions that are held.
    held: usize,
    pub(super) keys: usize,
    /// Members of archives inside layers.
    pub(super) members: u64,
    /// One for every depth; their windows are large.
    pub(super) scanners: Vec<Scanner>,
}

impl<'a> Walk<'a> {
    fn new(name: &str, limits: &'a Limits) -> Self {
        let image = Image { name: name.to_owned(), ..Image::default() };
        let (archive, scanners) = (Archive::default(), Vec::new());
        Walk { limits, archive, image, spent: 0, spent_inside: 0, held: 0, keys: 0, members: 0, scanners }
    }

    fn finish(mut self) -> Image {
        self.image.hints.sort();
        self.image.hints.dedup();
        manifest::describe(self.archive, &mut self.image);
        self.image
    }

    pub(super) fn unscanned(&mut self, what: impl Into<String>, why: Why) {
        let unscanned = Unscanned { what: what.into(), why };
        if !self.image.unscanned.contains(&unscanned) && self.image.unscanned.len() < 1_000 {
            self.image.unscanned.push(unscanned);
        }
    }

    fn outer(&mut self, mut tar: Tarball<impl Read>) {
        loop {
            match tar.next() {
                Ok(Next::Member(Member { path, kind, .. })) => match kind {
                    Kind::File => {
                        self.member(&normal(&path), tar.data());
                        // Whatever a damaged layer left unread is skipped with the next header.
                        if self.too_many_files() {
                            return;
                        }
                    }
                    Kind::SymbolicLink(target) | Kind::HardLink(target) => self.link(&normal(&path), &target),
                    Kind::Empty => {}
                },
                Ok(Next::End) => return,
                Ok(Next::Damage) => {
                    let name = self.image.name.clone();
                    self.unscanned(name.clone(), Why::Damaged("what follows is no member of a tar archive".into()));
                    let found = self.search(&name, &mut tar.rest(), self.limits.depth).found;
                    let hits = found.into_iter().map(|(_, hit)| hit);
                    self.archive.blobs.entry(name).or_default().hits.extend(hits);
                    return;
                }
                Err(error) => {
                    let (name, why) = (self.image.name.clone(), self.why(&error));
                    return self.unscanned(name, why);
                }
            }
        }
    }

    fn too_many_files(&mut self) -> bool {
        let limit = self.limits.files;
        let members = self.archive.blobs.len() as u64 + self.archive.links.len() as u64;
        // Members of the archive itself are held by name: fewer of them are enough.
        let over = self.image.files >= limit || members >= limit.min(200_000);
        if over {
            self.unscanned(self.image.name.clone(), Why::TooManyFiles { limit });
        }
        over
    }

    fn link(&mut self, name: &str, target: &str) {
        // Relative to the directory that the link is in; a hard link's target has no `..` in it.
        let target = match name.rsplit_once('/') {
            Some((dir, _)) if target.starts_with('.') => normal(&format!("{dir}/{target}")),
            _ => normal(target),
        };
        self.archive.links.insert(name.to_owned(), target);
    }

    /// A member: a layer if it is an archive, else a file, perhaps a description.
    fn member(&mut self, name: &str, input: impl Read) {
        let mut input = match Peeked::new(input) {
            Ok(input) => input,
            Err(error) => return self.unscanned(name, Why::Damaged(error.to_string())),
        };
        let packing = unpack::packing(&input.head);
        let limit = self.limits.layer.min(self.limits.all.saturating_sub(self.spent));
        let spent = Cell::new(0);
        let metered = Metered { input: unpack::unpack(packing, &mut input), spent: &spent, limit };
        let blob = match Peeked::new(metered) {
            Ok(unpacked) if tarball::is_tar(&unpacked.head) => {
                let layer = self.layer(name, Tarball::new(unpacked));
                Blob { layer: Some(layer), ..Blob::default() }
            }
            // Some builders write a layer without files as no octets at all.
            Ok(unpacked) if unpacked.head.is_empty() => Blob { layer: Some(LayerSeen::default()), ..Blob::default() },
            Ok(unpacked) if packing == Packing::Plain => self.file(name, unpacked),
            Ok(mut unpacked) => Blob { hits: self.beside(name, &mut unpacked), ..Blob::default() },
            Err(error) => {
                self.unscanned(name, self.why(&error));
                Blob::default()
            }
        };
        self.spent = self.spent.saturating_add(spent.get());
        self.archive.blobs.insert(name.to_owned(), blob);
    }

    /// A member that is no archive. Descriptions are held, if they are small.
    fn file(&mut self, name: &str, input: Peeked<impl Read>) -> Blob {
        let is_json = input.head.trim_ascii_start().first().is_some_and(|first| b"{[".contains(first));
        let room = self.limits.description.min(self.limits.descriptions - self.held);
        let mut json = Vec::new();
        let mut keep = Keep { kept: is_json.then_some(&mut json), most: room, input };
        let hits = self.beside(name, &mut keep);
        let whole = keep.kept.is_some();
        let json = whole.then_some(json);
        self.held += json.as_ref().map_or(0, Vec::len);
        Blob { json, hits, layer: None }
    }

    /// The keys of a file that lies beside the layers.
    fn beside(&mut self, name: &str, input: &mut dyn Read) -> Vec<Hit> {
        let Searched { found, failed } = self.search(name, input, 0);
        if let Some(error) = failed {
            self.unscanned(name, self.why(&error));
        }
        found.into_iter().map(|(_, hit)| hit).collect()
    }

    fn layer(&mut self, name: &str, mut tar: Tarball<impl Read>) -> LayerSeen {
        let mut seen = LayerSeen::default();
        loop {
            match tar.next() {
                Ok(Next::Member(Member { path, kind, .. })) => {
                    if self.too_many_files() {
                        return seen;
                    }
                    self.image.files += 1;
                    let path = normal(&path);
                    match kind {
                        Kind::File => match whiteout(&path) {
                            Some(whiteout) if seen.whiteouts.len() < self.limits.names => {
                                seen.whiteouts.push(whiteout);
                            }
                            Some(_) => {}
                            None => {
                                seen.remember(&path, self.limits);
                                let Searched { found, failed } = self.search(&path, &mut tar.data(), 0);
                                seen.keys.extend(found);
                                if let Some(error) = failed {
                                    self.unscanned(name, self.why(&error));
                                    return seen;
                                }
                                if tar.is_cut() {
                                    let why = format!("it ends inside {}", printable(&path));
                                    self.unscanned(name, Why::Damaged(why));
                                    return seen;
                                }
                            }
                        },
                        Kind::HardLink(target) => {
                            seen.remember(&path, self.limits);
                            if seen.hard_links.len() < self.limits.names {
                                seen.hard_links.push((path, normal(&target)));
                            }
                        }
                        Kind::SymbolicLink(_) => seen.remember(&path, self.limits),
                        Kind::Empty => {}
                    }
                }
                Ok(Next::End) => return seen,
                Ok(Next::Damage) => {
                    self.unscanned(name, Why::Damaged("a header in it is no tar header".into()));
                    // No names any more, but keys are still found.
                    let found = self.search(name, &mut tar.rest(), self.limits.depth).found;
                    seen.keys.extend(found.into_iter().map(|(_, hit)| ("(behind the damage)".to_owned(), hit)));
                    return seen;
                }
                Err(error) => {
                    self.unscanned(name, self.why(&error));
                    return seen;
                }
            }
        }
    }

    pub(super) fn why(&self, error: &io::Error) -> Why {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<TooMuch>()) {
            Some(TooMuch { limit }) => Why::TooMuch { limit: *limit },
            None => Why::Damaged(error.to_string()),
        }
    }
}

/// A path of the OCI image layer specification's whiteouts.
fn whiteout(path: &str) -> Option<Whiteout> {
    let (dir, file) = path.rsplit_once('/').unwrap_or(("", path));
    if file == ".wh..wh..opq" {
        return Some(Whiteout::Below(dir.to_owned()));
    }
    // Other names of two `.wh.` are aufs's own affairs.
    let gone = file.strip_prefix(".wh.").filter(|gone| !gone.starts_with(".wh."))?;
    Some(Whiteout::Path(normal(&format!("{dir}/{gone}"))))
}

/// A path for people: a hostile one may hold control characters.
pub fn printable(path: &str) -> String {
    path.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}
