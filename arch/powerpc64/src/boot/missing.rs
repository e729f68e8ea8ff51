//! What this boot treats as missing from the firmware: `firmware_lacks=NAME+NAME` on
//! the command line. No firmware at hand lacks any of it, and the kernel's way on
//! without it is to be tested.

use core::ffi::CStr;

use formats::cmdline;

use super::openfirmware::{Node, OpenFirmware};

/// The name of the negotiation. Services of RTAS go by the names of their tokens.
pub(super) const NEGOTIATION: &str = "ibm,client-architecture-support";
/// The name of guest translation shootdown, which is then not requested.
pub(super) const GTSE: &str = "gtse";

/// The list, as it is on the command line. A name may have commas of its own, so a
/// `+` separates them.
pub(super) struct Missing {
    bootargs: [u8; 1024],
    length: usize,
}

impl Missing {
    /// Reads the option from the firmware itself.
    pub(super) fn read(firmware: &OpenFirmware, chosen: Node) -> Self {
        let mut bootargs = [0; 1024];
        let length = firmware.property(chosen, c"bootargs", &mut bootargs).map_or(0, <[u8]>::len);
        Self { bootargs, length }
    }

    /// The value of another option on the command line, before there is a `BootInfo`.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        let line = self.bootargs[..self.length].split(|&byte| byte == 0).next().unwrap_or_default();
        cmdline::value_of(core::str::from_utf8(line).unwrap_or_default(), key)
    }

    /// Whether `name` is to be missing.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value("firmware_lacks").is_some_and(|names| names.split('+').any(|one| one == name))
    }

    /// [`Self::has`] for a C string.
    pub(super) fn has_token(&self, name: &CStr) -> bool {
        name.to_str().is_ok_and(|name| self.has(name))
    }
}
