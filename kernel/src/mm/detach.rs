//! shmdt: unmaps all that is left of one attachment.

use kcore::mm::MmId;

use super::address_space::{self, Map};
use super::object::Object;
use crate::errno::Errno;

/// Takes away the areas that are left of a mapping whose object began at `addr`. `name` names the
/// objects that count. Returns the name. May sleep.
///
/// # Errors
/// `EINVAL` if there is no such area.
pub(crate) fn detach<N>(mm: MmId, addr: u64, name: impl Fn(&Object) -> Option<N>) -> Result<N, Errno> {
    if addr != vm::page_down(addr) {
        return Err(Errno::EINVAL);
    }
    let mut map = address_space::lock(mm);
    let found = map
        .attached_parts(addr, u64::MAX)
        .find_map(|(object, _)| Some((name(object)?, object.id(), object.len())));
    let (name, id, len) = found.ok_or(Errno::EINVAL)?;
    let end = vm::page_up(len).and_then(|len| addr.checked_add(len)).unwrap_or(u64::MAX);
    loop {
        let part = map.attached_parts(addr, end).find(|(object, _)| object.id() == id).map(|(_, part)| part);
        let Some(part) = part else { return Ok(name) };
        map.make_room(&part)?;
        map.unmap(part);
    }
}

impl Map {
    /// The areas between `addr` and `end` that lie where they would if all of their object
    /// were mapped from `addr` on.
    fn attached_parts(&self, addr: u64, end: u64) -> impl Iterator<Item = (&Object, core::ops::Range<u64>)> {
        self.areas.overlapping(&(addr..end)).filter_map(move |area| {
            let (object, offset) = area.contents.object()?;
            (area.start.checked_sub(addr) == Some(offset)).then(|| (object, area.range()))
        })
    }
}
