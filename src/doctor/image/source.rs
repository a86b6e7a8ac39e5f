//! Where the octets of an image come from: a file, a directory, or a container engine that is asked to save it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::Image;
use super::walk::{self, Limits};
use crate::command::CommandError;
use crate::doctor::engine::{Docker, Engine};
use crate::doctor::patient;

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("{path} cannot be read: {source}; give the archive that `docker save` wrote")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{reference} could not be had ({source}); save it where it is, and give the archive: docker save -o image.tar \
         {reference}"
    )]
    Engine { reference: String, source: CommandError },
    #[error("the engine did not save {reference}: {source}; try it by hand: docker save -o image.tar {reference}")]
    Save { reference: String, source: io::Error },
    #[error("{0} is neither a tar archive nor an OCI image layout; give what `docker save` or `skopeo copy` wrote")]
    NoImage(String),
}

/// Walks over the image that was named. Nothing is written anywhere.
pub fn walk(image: &patient::Image, engine: &dyn Engine, limits: &Limits) -> Result<Image, ImageError> {
    match image {
        patient::Image::Archive(path) if path.is_dir() => walk::directory(path, limits),
        patient::Image::Archive(path) => archive(path, limits),
        // A directory is a layout, and what can only be a path is one even if it is not there.
        patient::Image::Named(name) if Path::new(name).is_dir() => walk::directory(Path::new(name), limits),
        patient::Image::Named(name) if name.starts_with(['/', '.']) => archive(Path::new(name), limits),
        patient::Image::Named(name) => saved(name, engine, limits),
    }
}

fn archive(path: &Path, limits: &Limits) -> Result<Image, ImageError> {
    let unread = |source| ImageError::Read { path: path.to_owned(), source };
    walk::archive(&path.display().to_string(), File::open(path).map_err(unread)?, limits)
}

/// `docker save REF`, as a stream; podman's, where there is no docker.
fn saved(reference: &str, engine: &dyn Engine, limits: &Limits) -> Result<Image, ImageError> {
    let args = ["save", "--", reference];
    let stream = engine.stream(&args).or_else(|error| match error {
        CommandError::NotInstalled { .. } => {
            let podman = Docker { program: "podman".to_owned(), ..Docker::default() };
            podman.stream(&args).map_err(|_| error)
        }
        error => Err(error),
    });
    let failed = |source| ImageError::Engine { reference: reference.to_owned(), source };
    let mut stream = stream.map_err(failed)?;
    // An engine that refuses writes nothing, and says why when its output ends.
    let mut first = [0; 1];
    let begun =
        stream.read(&mut first).map_err(|source| ImageError::Save { reference: reference.to_owned(), source })?;
    let mut walked = walk::archive(reference, first[..begun].chain(&mut *stream), limits)?;
    // Its bad end may come after a sound archive.
    if let Err(error) = io::copy(&mut stream, &mut io::sink()) {
        let why = super::Why::Damaged(error.to_string());
        walked.unscanned.push(super::Unscanned { what: reference.to_owned(), why });
    }
    Ok(walked)
}
