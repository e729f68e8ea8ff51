//! Copies the firmware's device tree into a flattened blob of ours.
//!
//! The firmware dies at `quiesce`; the blob stays, and is read by safe code.
//!
//! Every question costs the firmware a search through its whole tree. With a
//! thousand CPUs of forty properties that would take minutes. So of all CPU
//! nodes but the first only [`SERVERS`] is asked for; all have the same name in the copy.

use core::ffi::CStr;

use formats::devicetree::{Builder, Full};

use super::openfirmware::{Node, OpenFirmware};

/// The hardware ids of the threads of a CPU node, one word each.
const SERVERS: &CStr = c"ibm,ppc-interrupt-server#s";
/// Room for them: no core has more than eight threads.
const SERVERS_BYTES: usize = 8 * 4;
/// How the name of a CPU node starts; the whole name of those whose name is not asked for.
const CPU_NAME: &str = "PowerPC,";
/// Its device_type.
const CPU_TYPE: &[u8] = b"cpu\0";
/// Deeper nodes are left out: a kernel needs none of them to boot.
const MAX_DEPTH: usize = 12;
/// Longer properties are left out: they are pictures and vendor data.
const MAX_PROPERTY_BYTES: usize = 0x1_0000;

struct Copier<'a, 'b> {
    firmware: &'a OpenFirmware,
    builder: Builder<'b>,
    cpu_seen: bool,
}

/// Copies the tree into `buffer`. Returns the length of the blob.
///
/// # Errors
/// The buffer is too small.
pub(super) fn copy(firmware: &OpenFirmware, buffer: &mut [u8]) -> Result<usize, Full> {
    let mut copier = Copier { firmware, builder: Builder::new(buffer)?, cpu_seen: false };
    match firmware.root() {
        Some(root) => copier.node(root, 0)?,
        None => {
            copier.builder.begin_node("")?;
            copier.builder.end_node()?;
        }
    }
    copier.builder.finish()
}

impl Copier<'_, '_> {
    /// Copies a node and all below it.
    fn node(&mut self, node: Node, depth: usize) -> Result<(), Full> {
        if self.cpu_seen && self.later_cpu(node)? {
            return Ok(());
        }
        let is_cpu = self.begin(node)?;
        self.cpu_seen |= is_cpu;
        self.properties(node)?;
        let mut child = self.firmware.child(node).filter(|_| depth < MAX_DEPTH);
        while let Some(node) = child {
            self.node(node, depth + 1)?;
            child = self.firmware.peer(node);
        }
        self.builder.end_node()
    }

    /// Copies the node of a CPU that is not the first; false if it is no CPU.
    #[inline(never)]
    fn later_cpu(&mut self, node: Node) -> Result<bool, Full> {
        let mut buffer = [0; SERVERS_BYTES];
        let Some(servers) = self.firmware.property(node, SERVERS, &mut buffer) else { return Ok(false) };
        self.builder.begin_node(CPU_NAME)?;
        for (name, value) in [("device_type", CPU_TYPE), (SERVERS.to_str().unwrap_or_default(), servers)] {
            self.builder.property(name, value.len(), |room| {
                room.copy_from_slice(value);
                Some(room.len())
            })?;
        }
        self.builder.end_node()?;
        Ok(true)
    }

    /// Opens the node under the last step of its path. True if it is a CPU. Not
    /// inlined: the path must not stay on the stack during the descent.
    #[inline(never)]
    fn begin(&mut self, node: Node) -> Result<bool, Full> {
        let mut buffer = [0; 256];
        let path = self.firmware.path(node, &mut buffer).unwrap_or_default();
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let name = core::str::from_utf8(name).unwrap_or_default();
        self.builder.begin_node(name)?;
        Ok(name.starts_with(CPU_NAME))
    }

    #[inline(never)]
    fn properties(&mut self, node: Node) -> Result<(), Full> {
        let mut buffers = [[0; 64]; 2];
        let [previous, next] = &mut buffers;
        let (mut previous, mut next) = (previous, next);
        loop {
            let name = CStr::from_bytes_until_nul(previous).unwrap_or_default();
            let Some(name) = self.firmware.next_property(node, name, next) else {
                return Ok(());
            };
            let length = self.firmware.property_length(node, name);
            self.property(node, name, length)?;
            core::mem::swap(&mut previous, &mut next);
        }
    }

    /// Copies one property of at most `length` bytes, if there is one and the
    /// length is sane.
    fn property(&mut self, node: Node, name: &CStr, length: Option<usize>) -> Result<(), Full> {
        let Some(length) = length.filter(|&length| length <= MAX_PROPERTY_BYTES) else {
            return Ok(());
        };
        let Ok(text) = name.to_str() else { return Ok(()) };
        self.builder.property(text, length, |room| self.firmware.property(node, name, room).map(<[u8]>::len))
    }
}
