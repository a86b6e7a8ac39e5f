//! A directory of the kind that Compose projects are kept in: which of its files say something about mail.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::finding::Place;

/// The files below a directory, without what belongs to version control, package managers and compilers.
#[derive(Debug, Clone, Default)]
pub struct Files {
    pub root: PathBuf,
    /// Relative to the root, sorted.
    paths: Vec<PathBuf>,
    /// Whether there were more than are looked at.
    pub cut: bool,
}

/// More than any project has by hand.
const MOST: usize = 20_000;
const DEEPEST: usize = 12;
/// Configuration is smaller; what is larger is something else.
const LARGEST: u64 = 4 << 20;

const NOT_OURS: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    "node_modules",
    "target",
    "vendor",
    ".venv",
    "venv",
    "__pycache__",
    ".cache",
    ".terraform",
];

impl Files {
    pub fn open(root: &Path) -> std::io::Result<Files> {
        let mut files = Files { root: root.to_owned(), ..Files::default() };
        files.walk(Path::new(""), 0)?;
        files.paths.sort();
        Ok(files)
    }

    /// Whether a directory has at its top what this is about.
    pub fn is_project(root: &Path) -> bool {
        let names = fs::read_dir(root).into_iter().flatten().flatten();
        let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names.any(|name| is_compose(&name) || is_dockerfile(&name) || name == "main.cf")
    }

    /// Links are not followed: they lead out of the directory, or around in it.
    fn walk(&mut self, below: &Path, depth: usize) -> std::io::Result<()> {
        let listing = match fs::read_dir(self.root.join(below)) {
            // What cannot be entered below the root is passed over.
            Err(_) if depth > 0 => return Ok(()),
            listing => listing?,
        };
        let mut directories = Vec::new();
        for entry in listing.flatten() {
            let (Ok(kind), name) = (entry.file_type(), entry.file_name()) else { continue };
            let path = below.join(&name);
            if kind.is_dir() && !NOT_OURS.iter().any(|skipped| name == *skipped) {
                directories.push(path);
            } else if kind.is_file() {
                if self.paths.len() == MOST {
                    self.cut = true;
                    return Ok(());
                }
                self.paths.push(path);
            }
        }
        directories.sort();
        for directory in directories {
            if depth < DEEPEST {
                self.walk(&directory, depth + 1)?;
            } else {
                self.cut = true;
            }
        }
        Ok(())
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// The files whose name is as wanted.
    pub fn named<'a>(&'a self, wanted: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = &'a Path> {
        self.paths().filter(move |path| path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted))
    }

    pub fn has(&self, path: &Path) -> bool {
        self.paths.binary_search_by(|known| known.as_path().cmp(path)).is_ok()
    }

    /// A place below the root, as it is named from where the program runs.
    pub fn as_named(&self, place: &mut Place) {
        if self.root != Path::new(".") && self.has(Path::new(&place.file)) {
            place.file = self.root.join(&place.file).display().to_string();
        }
    }

    /// The octets of a file; `None` if it is not there, too large, or not for us to read.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = fs::File::open(self.root.join(path)).ok()?;
        file.take(LARGEST + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= LARGEST).then_some(bytes)
    }

    pub fn text(&self, path: &Path) -> Option<String> {
        self.bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// `compose.yaml`, `docker-compose.prod.yml` and the like.
pub fn is_compose(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"));
    let stem = stem.map(|stem| stem.strip_prefix("docker-").unwrap_or(stem));
    stem.and_then(|stem| stem.strip_prefix("compose"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '_']))
}

/// `Dockerfile`, `Dockerfile.prod`, `mail.Dockerfile`, `Containerfile`.
pub fn is_dockerfile(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let whole = ["dockerfile", "containerfile"];
    if name.ends_with(".dockerignore") {
        return false;
    }
    whole.iter().any(|whole| name == *whole || name.strip_prefix(whole).is_some_and(|rest| rest.starts_with('.')))
        || name.ends_with(".dockerfile")
}
