//! From path names to inodes.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::Errno;
use crate::fs::inode::{Inode, root};
use crate::fs::rename::shape_of_tree;
use crate::mm::user_memory::PATH_MAX;

/// Symbolic links that a path may lead through (Linux's MAXSYMLINKS).
const MAX_SYMLINKS: u32 = 40;
/// The longest name in a directory.
pub(crate) const NAME_MAX: usize = 255;
/// How many symbolic links may be inside each other: each takes a walk of its own on the stack.
const MAX_NESTED: u32 = 8;

/// A directory that paths start from.
#[derive(Clone)]
pub(crate) struct Place(Arc<Inode>);

impl Place {
    /// The root directory.
    pub(crate) fn root() -> Self {
        Place(root().clone())
    }

    /// `ENOTDIR` unless `inode` is a directory.
    pub(crate) fn of(inode: &Arc<Inode>) -> Result<Self, Errno> {
        inode.directory().map(|_| Place(inode.clone()))
    }

    /// The directory itself.
    pub(crate) fn inode(&self) -> &Arc<Inode> {
        &self.0
    }

    /// Its absolute path as it is now.
    ///
    /// # Errors
    /// `ENOENT` if it, or a directory above it, has been removed; `ENAMETOOLONG`.
    pub(crate) fn path(&self) -> Result<String, Errno> {
        // No directory moves between two steps.
        let _shape = shape_of_tree();
        let mut names = Vec::new();
        let mut bytes = 1;
        let mut here = self.0.clone();
        while !Arc::ptr_eq(&here, root()) {
            let directory = here.directory()?;
            let removed = directory.lock().is_removed();
            let (parent, name) = directory.up().filter(|_| !removed).ok_or(Errno::ENOENT)?;
            bytes += name.len() + 1;
            if bytes > PATH_MAX {
                return Err(Errno::ENAMETOOLONG);
            }
            names.push(name);
            here = parent;
        }
        if names.is_empty() {
            return Ok(String::from("/"));
        }
        Ok(names.iter().rev().fold(String::with_capacity(bytes), |path, name| path + "/" + name))
    }

    /// Walks `path` from here, or from the root if it starts there. Symbolic
    /// links on the way are followed; the last name is left to the caller.
    pub(crate) fn walk(&self, path: &str) -> Result<Walked, Errno> {
        Walk::from(self).all_but_last(path)
    }

    /// As [`Place::walk`], but the last symbolic link is followed, too, if `follow` or if the
    /// path ends in a slash. Its target may not exist.
    pub(super) fn walk_through(&self, path: &str, follow: bool) -> Result<Walked, Errno> {
        Walk::from(self).all(path, follow)
    }

    /// The inode that `path` names. The last symbolic link is followed if `follow`.
    pub(crate) fn look_up(&self, path: &str, follow: bool) -> Result<Arc<Inode>, Errno> {
        self.walk_through(path, follow)?.inode()
    }

    /// As [`Place::look_up`], with the inode's absolute path.
    pub(crate) fn find(&self, path: &str, follow: bool) -> Result<(Arc<Inode>, String), Errno> {
        let walked = self.walk_through(path, follow)?;
        let inode = walked.inode()?;
        let mut name = walked.place.path()?;
        if let Last::Name(last) = &walked.last {
            if !name.ends_with('/') {
                name.push('/');
            }
            name.push_str(last);
        }
        Ok((inode, name))
    }

    /// The directory that `path` names, as a place.
    pub(crate) fn enter(&self, path: &str) -> Result<Place, Errno> {
        Place::of(&self.look_up(path, true)?)
    }
}

/// The end of a walk.
pub(crate) struct Walked {
    /// The directory that has the last name, or is itself named.
    pub(crate) place: Place,
    /// The last name, which may not exist.
    pub(crate) last: Last,
    /// Whether a slash followed, so that the path names a directory.
    pub(crate) slash: bool,
}

/// The last part of a path.
pub(crate) enum Last {
    /// A name in the place.
    Name(String),
    /// `.`: the place itself.
    Dot,
    /// `..`: the place itself; the walk has gone up already.
    DotDot,
    /// The path is `/`.
    Root,
}

impl Walked {
    /// The inode that was named. `ENOTDIR` for `name/` of an inode that is not a directory.
    pub(crate) fn inode(&self) -> Result<Arc<Inode>, Errno> {
        let Last::Name(name) = &self.last else { return Ok(self.place.0.clone()) };
        let inode = self.place.0.directory()?.get(name).ok_or(Errno::ENOENT)?;
        if self.slash && !inode.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        Ok(inode)
    }

    /// Its target, if it is a symbolic link.
    fn link_target(&self) -> Option<String> {
        let Last::Name(name) = &self.last else { return None };
        self.place.0.directory().ok()?.get(name)?.link_target()
    }
}

struct Walk {
    place: Place,
    links: u32,
    /// Symbolic links whose walk is not over.
    nested: u32,
}

impl Walk {
    fn from(place: &Place) -> Self {
        Walk { place: place.clone(), links: 0, nested: 0 }
    }

    /// Walks all but the last name of `path`.
    fn all_but_last(&mut self, path: &str) -> Result<Walked, Errno> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path.starts_with('/') {
            self.place = Place::root();
        }
        let slash = path.ends_with('/');
        let ends = |place: &Place, last| Ok(Walked { place: place.clone(), last, slash });
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            if name.len() > NAME_MAX {
                return Err(Errno::ENAMETOOLONG);
            }
            let is_last = names.peek().is_none();
            match name {
                "." if is_last => return ends(&self.place, Last::Dot),
                "." => {}
                ".." => {
                    self.place = Place(self.place.0.directory()?.parent());
                    if is_last {
                        return ends(&self.place, Last::DotDot);
                    }
                }
                _ if is_last => return ends(&self.place, Last::Name(String::from(name))),
                _ => self.step(name)?,
            }
        }
        ends(&self.place, Last::Root)
    }

    /// Walks all of `path`, the last symbolic link included if `follow`.
    fn all(&mut self, path: &str, follow: bool) -> Result<Walked, Errno> {
        let mut walked = self.all_but_last(path)?;
        // A name that does not exist is left to the caller, which may make it.
        while (follow || walked.slash)
            && let Some(target) = walked.link_target()
        {
            self.count_link()?;
            let slash = walked.slash;
            walked = self.all_but_last(&target)?;
            walked.slash |= slash;
        }
        Ok(walked)
    }

    /// Walks down one name, which must be a directory or lead to one.
    fn step(&mut self, name: &str) -> Result<(), Errno> {
        let mut inode = self.place.0.directory()?.get(name).ok_or(Errno::ENOENT)?;
        while let Some(target) = inode.link_target() {
            self.count_link()?;
            self.nested += 1;
            if self.nested > MAX_NESTED {
                return Err(Errno::ELOOP);
            }
            let walked = self.all_but_last(&target)?;
            self.nested -= 1;
            inode = walked.place.0.clone();
            if let Last::Name(last) = &walked.last {
                inode = walked.place.0.directory()?.get(last).ok_or(Errno::ENOENT)?;
            }
        }
        self.place = Place::of(&inode)?;
        Ok(())
    }

    fn count_link(&mut self) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MAX_SYMLINKS { Err(Errno::ELOOP) } else { Ok(()) }
    }
}
