//! Accesses to an address space that need not be current: stores, pages made present, the keys of
//! futexes.

use core::ops::Range;

use arch::addr::PAGE_SIZE;
use kcore::mm::MmId;
use vm::area::Prot;

use super::FaultError;
use super::address_space::{self, Map};
use super::fault::make_fetchable;

/// Stores `bytes` at `addr` of `mm`, which need not be current. The protection does not matter:
/// this builds stacks and loads programs. Makes pages present and copies private ones, as a store
/// of the program would. May sleep.
///
/// # Errors
/// The error of the first fault that fails; the bytes before it are stored.
pub(crate) fn poke(mm: MmId, addr: u64, bytes: &[u8]) -> Result<(), FaultError> {
    address_space::lock(mm).poke(addr, bytes)
}

/// As [`poke`], of `len` zeroes.
///
/// # Errors
/// As [`poke`].
pub(crate) fn zero(mm: MmId, addr: u64, len: u64) -> Result<(), FaultError> {
    // SAFETY: `store` passes bytes that may be stored to.
    let clear = |to: *mut u8, part: Range<usize>| unsafe { to.write_bytes(0, part.len()) };
    address_space::lock(mm).store(addr, len as usize, clear)
}

/// As [`poke`], if the program itself may store there.
///
/// # Errors
/// The error of such a store by the program.
pub(crate) fn poke_writable(mm: MmId, addr: u64, bytes: &[u8]) -> Result<(), FaultError> {
    let mut map = address_space::lock(mm);
    let last = addr.checked_add(bytes.len() as u64 - 1).ok_or(FaultError::MapErr)?;
    for at in [addr, last] {
        let area = map.areas.find(at).ok_or(FaultError::MapErr)?;
        if !area.prot.contains(Prot::WRITE) {
            return Err(FaultError::AccErr);
        }
    }
    map.poke(addr, bytes)
}

/// The key of a shared futex at `addr`: the number of the object mapped there and the offset into
/// it. `None` for private memory. May sleep.
pub(crate) fn shared_key(mm: MmId, addr: u64) -> Option<(u64, u64)> {
    let map = address_space::lock(mm);
    let area = map.areas.find(addr).filter(|area| area.shared)?;
    area.contents.object().map(|(object, offset)| (object.id(), offset + addr - area.start))
}

impl Map {
    fn poke(&mut self, addr: u64, bytes: &[u8]) -> Result<(), FaultError> {
        self.store(addr, bytes.len(), |to, part| {
            let from = &bytes[part];
            // SAFETY: `store` passes bytes that may be stored to.
            unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
        })
    }

    /// Has `put` store `len` bytes at `addr`, page by page: it gets the place of a part, and which
    /// of the bytes the part is.
    fn store(
        &mut self,
        addr: u64,
        len: usize,
        mut put: impl FnMut(*mut u8, Range<usize>),
    ) -> Result<(), FaultError> {
        let mut done = 0;
        while done < len {
            let at = addr + done as u64;
            let page = self.make_present(at, true)?;
            let offset = at % PAGE_SIZE;
            let end = len.min(done + (PAGE_SIZE - offset) as usize);
            // Inside the page, which the lock keeps. Threads of the program may read it meanwhile,
            // as during any store of another thread.
            put(page.as_mut_ptr::<u8>().wrapping_add(offset as usize), done..end);
            if self.areas.find(at).is_some_and(|area| area.prot.contains(Prot::EXEC)) {
                make_fetchable(page);
            }
            done = end;
        }
        Ok(())
    }

    /// Makes every page in `range` present.
    pub(super) fn populate(&mut self, range: Range<u64>) -> Result<(), FaultError> {
        for addr in range.step_by(PAGE_SIZE as usize) {
            let area = self.areas.find(addr).ok_or(FaultError::MapErr)?;
            if area.prot.is_empty() {
                return Err(FaultError::AccErr);
            }
            // A page of a shared area is stored to without a copy.
            let write = area.prot.contains(Prot::WRITE) && !area.shared;
            self.make_present(addr, write)?;
        }
        Ok(())
    }
}
