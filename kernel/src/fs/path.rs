//! From path names to inodes.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::Errno;
use crate::fs::inode::{Inode, Kind, root};
use crate::fs::regular::{DirectoryFile, RegularFile};
use crate::fs::{Description, File, OpenFlags};
use crate::mm::Object;

/// Symbolic links that a path may lead through (Linux's MAXSYMLINKS).
const MAX_SYMLINKS: u32 = 40;
/// The longest name in a directory.
pub(super) const NAME_MAX: usize = 255;
/// How many symbolic links may be inside each other: each takes a walk of its own
/// on the stack.
const MAX_NESTED: u32 = 8;
/// How deep a place may be: every walk and every open directory has a copy of it.
const MAX_DEPTH: usize = 256;

/// A directory and how one came there, for `..` and getcwd.
#[derive(Clone)]
pub(crate) struct Place {
    /// The directories from the root down to this one, each with its name.
    above: Vec<(String, Arc<Inode>)>,
}

impl Place {
    /// The root directory.
    pub(crate) fn root() -> Self {
        Place { above: Vec::new() }
    }

    /// The directory itself.
    pub(crate) fn inode(&self) -> &Arc<Inode> {
        self.above.last().map_or(root(), |(_, inode)| inode)
    }

    /// Its absolute path.
    pub(crate) fn path(&self) -> String {
        if self.above.is_empty() {
            return String::from("/");
        }
        self.above.iter().fold(String::new(), |path, (name, _)| path + "/" + name)
    }

    /// Walks `path` from here, or from the root if it starts there. Symbolic
    /// links on the way are followed; the last name is left to the caller.
    pub(crate) fn walk(&self, path: &str) -> Result<Walked, Errno> {
        let mut walk = Walk { place: self.clone(), links: 0, nested: 0 };
        walk.all_but_last(path)
    }

    /// The inode that `path` names, and its absolute path. The last symbolic link
    /// is followed if `follow`.
    pub(crate) fn find(&self, path: &str, follow: bool) -> Result<(Arc<Inode>, String), Errno> {
        let mut walk = Walk { place: self.clone(), links: 0, nested: 0 };
        let walked = walk.all(path, follow)?;
        let mut name = walked.place.path();
        if let Some(last) = &walked.last {
            if !name.ends_with('/') {
                name.push('/');
            }
            name.push_str(last);
        }
        Ok((walked.inode()?, name))
    }

    /// The directory that `path` names, as a place.
    pub(crate) fn enter(&self, path: &str) -> Result<Place, Errno> {
        let mut walk = Walk { place: self.clone(), links: 0, nested: 0 };
        let Walked { mut place, last } = walk.all(path, true)?;
        if let Some(last) = last {
            let inode = place.inode().directory()?.get(&last).ok_or(Errno::ENOENT)?;
            inode.directory()?;
            if place.above.len() == MAX_DEPTH {
                return Err(Errno::ENAMETOOLONG);
            }
            place.above.push((last, inode));
        }
        Ok(place)
    }
}

/// Where a walk ended: a directory, and the last name, which may not exist. No
/// name: the directory itself (the path was `/`, or ended in `.` or `..`).
pub(crate) struct Walked {
    /// The directory.
    pub(crate) place: Place,
    /// The last name.
    pub(crate) last: Option<String>,
}

impl Walked {
    /// The inode that was named.
    pub(crate) fn inode(&self) -> Result<Arc<Inode>, Errno> {
        match &self.last {
            None => Ok(self.place.inode().clone()),
            Some(name) => self.place.inode().directory()?.get(name).ok_or(Errno::ENOENT),
        }
    }
}

struct Walk {
    place: Place,
    links: u32,
    /// Symbolic links whose walk is not over.
    nested: u32,
}

impl Walk {
    /// Walks all but the last name of `path`.
    fn all_but_last(&mut self, path: &str) -> Result<Walked, Errno> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path.starts_with('/') {
            self.place = Place::root();
        }
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            if name.len() > NAME_MAX {
                return Err(Errno::ENAMETOOLONG);
            }
            match name {
                "." => {}
                ".." => drop(self.place.above.pop()),
                // `name/` at the end names a directory: walk into it.
                _ if names.peek().is_none() && !path.ends_with('/') => {
                    self.place.inode().directory()?;
                    return Ok(Walked { place: self.place.clone(), last: Some(String::from(name)) });
                }
                _ => self.step(name)?,
            }
        }
        Ok(Walked { place: self.place.clone(), last: None })
    }

    /// Walks all of `path`, the last symbolic link included if `follow`.
    fn all(&mut self, path: &str, follow: bool) -> Result<Walked, Errno> {
        let mut walked = self.all_but_last(path)?;
        // A name that does not exist is left to the caller, who may make it.
        while follow && let Some(target) = walked.inode().ok().and_then(|inode| inode.link_target()) {
            self.count_link()?;
            walked = self.all_but_last(&target)?;
        }
        Ok(walked)
    }

    /// One name down, which must be a directory or lead to one.
    fn step(&mut self, name: &str) -> Result<(), Errno> {
        let look_up = |place: &Place, name: &str| place.inode().directory()?.get(name).ok_or(Errno::ENOENT);
        let mut inode = look_up(&self.place, name)?;
        let mut name = String::from(name);
        while let Some(target) = inode.link_target() {
            self.count_link()?;
            self.nested += 1;
            if self.nested > MAX_NESTED {
                return Err(Errno::ELOOP);
            }
            let Walked { place, last } = self.all_but_last(&target)?;
            self.nested -= 1;
            self.place = place;
            let Some(last) = last else { return Ok(()) };
            inode = look_up(&self.place, &last)?;
            name = last;
        }
        inode.directory()?;
        if self.place.above.len() == MAX_DEPTH {
            return Err(Errno::ENAMETOOLONG);
        }
        self.place.above.push((name, inode));
        Ok(())
    }

    fn count_link(&mut self) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MAX_SYMLINKS { Err(Errno::ELOOP) } else { Ok(()) }
    }
}

/// open: the description of what `path` names from `place`. `permissions` are
/// those of a file that is made.
pub(crate) fn open(
    place: &Place,
    path: &str,
    flags: OpenFlags,
    permissions: u32,
) -> Result<Arc<Description>, Errno> {
    let follow = !flags.contains(OpenFlags::NOFOLLOW) && !flags.contains(OpenFlags::CREAT | OpenFlags::EXCL);
    let walked = Walk { place: place.clone(), links: 0, nested: 0 }.all(path, follow)?;
    let inode = match (walked.inode(), &walked.last) {
        (Ok(_), _) if flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) => return Err(Errno::EEXIST),
        (Err(Errno::ENOENT), Some(name)) if flags.contains(OpenFlags::CREAT) => {
            let inode = Inode::new(Kind::Regular(Arc::new(Object::new(0))), permissions & 0o7777);
            match walked.place.inode().directory()?.add(name, inode.clone()) {
                Ok(()) => inode,
                // Somebody else made it in between.
                Err(_) if !flags.contains(OpenFlags::EXCL) => walked.inode()?,
                Err(errno) => return Err(errno),
            }
        }
        (found, _) => found?,
    };
    if flags.contains(OpenFlags::DIRECTORY) {
        inode.directory()?;
    }
    let file: Arc<dyn File> = match &inode.kind {
        Kind::Directory(_) if flags.writable() => return Err(Errno::EISDIR),
        Kind::Directory(_) => {
            let Walked { mut place, last } = walked;
            place.above.extend(last.map(|name| (name, inode.clone())));
            Arc::new(DirectoryFile(place))
        }
        Kind::Symlink(_) | Kind::MagicLink(_) => return Err(Errno::ELOOP),
        Kind::Device(_, open) => open(flags)?,
        Kind::Generated(make) => make(flags)?,
        Kind::Regular(object) => {
            if flags.writable() && object.source().is_some() {
                return Err(Errno::EROFS);
            }
            if flags.contains(OpenFlags::TRUNC) && flags.writable() {
                object.set_len(0);
            }
            Arc::new(RegularFile { inode: inode.clone(), object: object.clone() })
        }
    };
    Ok(Description::new(file, flags))
}
