//! The Open Firmware client interface (IEEE 1275), as far as a boot needs it.
//!
//! A call is an array of big-endian words: service name, counts, arguments,
//! results, every address a 32-bit real one. It works from entry to `quiesce`,
//! on the boot CPU, with the MMU off.

use core::ffi::CStr;

use volatile::VolatileRef;

unsafe extern "C" {
    /// See client_call.S.
    fn openfirmware_enter(args: u64, entry: u64) -> u64;
}

/// A node of the firmware's tree. Good until the next CAS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node(u32);

/// The firmware refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

#[derive(Clone, Copy)]
#[repr(C)]
struct ClientArgs {
    service: u32,
    inputs: u32,
    outputs: u32,
    slots: [u32; 8],
}

/// The firmware, before `quiesce`. Not `Copy`: [`Self::quiesce`] ends it.
pub(super) struct OpenFirmware {
    entry: u32,
}

/// The 32-bit real address of an object in the kernel image or in claimed memory,
/// all below 4 GB.
fn real<T: ?Sized>(pointer: *const T) -> u32 {
    pointer.cast::<u8>().expose_provenance() as u32
}

impl OpenFirmware {
    /// # Safety
    /// `entry` must be the client entry that the firmware gave; boot CPU, MMU off,
    /// nothing of the firmware overwritten yet.
    pub(super) unsafe fn new(entry: u32) -> Self {
        Self { entry }
    }

    /// One call; returns the first `M` results. Most services report a failure by
    /// all ones in the first; the caller must check for that.
    fn call<const N: usize, const M: usize>(
        &self,
        service: &CStr,
        inputs: [u32; N],
    ) -> Result<[u32; M], Refused> {
        const { assert!(N + M <= 8, "no service of ours has more arguments") };
        let mut slots = [0; 8];
        slots[..N].copy_from_slice(&inputs);
        let mut args =
            ClientArgs { service: real(service.as_ptr()), inputs: N as u32, outputs: M as u32, slots };
        // Volatile: the firmware reads and writes the array, by an address that the
        // compiler has lost sight of.
        let mut shared = VolatileRef::from_mut_ref(&mut args);
        let address = real(shared.as_mut_ptr().as_raw_ptr().as_ptr());
        // SAFETY: the array lives until the end of this function and has room for
        // the results; the caller of `new` promised the rest. The firmware's other
        // writes go to buffers that a method here names and borrows.
        let status = unsafe { openfirmware_enter(address.into(), self.entry.into()) };
        if status as u32 != 0 {
            return Err(Refused);
        }
        let slots = shared.as_ptr().read().slots;
        let mut results = [0; M];
        results.copy_from_slice(&slots[N..N + M]);
        Ok(results)
    }

    /// The node at `path`, or None. Every node comes from here or from a walk, so
    /// no service ever sees the invalid handle, which makes some firmware crash.
    pub(super) fn find(&self, path: &CStr) -> Option<Node> {
        self.node(c"finddevice", real(path.as_ptr()))
    }

    /// The root of the tree.
    pub(super) fn root(&self) -> Option<Node> {
        self.node(c"peer", 0)
    }

    /// The first child.
    pub(super) fn child(&self, node: Node) -> Option<Node> {
        self.node(c"child", node.0)
    }

    /// The next sibling.
    pub(super) fn peer(&self, node: Node) -> Option<Node> {
        self.node(c"peer", node.0)
    }

    fn node(&self, service: &CStr, input: u32) -> Option<Node> {
        match self.call(service, [input]) {
            Ok([0 | u32::MAX]) | Err(Refused) => None,
            Ok([handle]) => Some(Node(handle)),
        }
    }

    /// The node behind an open instance.
    pub(super) fn instance_node(&self, instance: u32) -> Option<Node> {
        self.node(c"instance-to-package", instance)
    }

    /// The length of a property, or None if there is no such property.
    pub(super) fn property_length(&self, node: Node, name: &CStr) -> Option<usize> {
        match self.call(c"getproplen", [node.0, real(name.as_ptr())]) {
            Ok([length]) if (length as i32) >= 0 => Some(length as usize),
            _ => None,
        }
    }

    /// Reads a property, cut to the buffer; returns the bytes that were read.
    pub(super) fn property<'b>(&self, node: Node, name: &CStr, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let inputs = [node.0, real(name.as_ptr()), real(buffer.as_mut_ptr()), buffer.len() as u32];
        match self.call(c"getprop", inputs) {
            Ok([length]) if (length as i32) >= 0 => {
                let length = buffer.len().min(length as usize);
                Some(&buffer[..length])
            }
            _ => None,
        }
    }

    /// A property of one word.
    pub(super) fn property_u32(&self, node: Node, name: &CStr) -> Option<u32> {
        let mut word = [0; 4];
        (self.property(node, name, &mut word)?.len() == 4).then_some(u32::from_be_bytes(word))
    }

    /// The name of the property after `previous` (empty: the first one). The standard
    /// says 31 characters; `ibm,processor-radix-AP-encodings` has 32.
    pub(super) fn next_property<'b>(
        &self,
        node: Node,
        previous: &CStr,
        buffer: &'b mut [u8; 64],
    ) -> Option<&'b CStr> {
        let inputs = [node.0, real(previous.as_ptr()), real(buffer.as_mut_ptr())];
        match self.call(c"nextprop", inputs) {
            Ok([1]) => CStr::from_bytes_until_nul(buffer).ok(),
            _ => None,
        }
    }

    /// The full path of a node, without the ending NUL.
    pub(super) fn path<'b>(&self, node: Node, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let inputs = [node.0, real(buffer.as_mut_ptr()), buffer.len() as u32];
        match self.call(c"package-to-path", inputs) {
            Ok([length]) if (length as i32) >= 0 => {
                buffer[..(length as usize).min(buffer.len())].split(|&byte| byte == 0).next()
            }
            _ => None,
        }
    }

    /// Reserves `size` bytes at `address`.
    pub(super) fn claim(&self, address: u32, size: u32) -> Result<(), Refused> {
        match self.call(c"claim", [address, size, 0])? {
            [got] if got == address => Ok(()),
            _ => Err(Refused),
        }
    }

    /// Negotiates with `ibm,client-architecture-support` (PAPR B.6.2.4): the two
    /// results, 0 and 0 when all went well.
    ///
    /// # Errors
    /// The firmware has no such method.
    pub(super) fn client_architecture_support(&self, vector: &[u8]) -> Result<[u32; 2], Refused> {
        let [root] = self.call(c"open", [real(c"/".as_ptr())])?;
        if root == 0 || root == u32::MAX {
            return Err(Refused);
        }
        let method = c"ibm,client-architecture-support";
        self.call(c"call-method", [real(method.as_ptr()), root, real(vector.as_ptr())])
    }

    /// Ends the firmware's activity. All memory is the kernel's afterwards.
    pub(super) fn quiesce(self) {
        // Nothing to do about a firmware that has no such service.
        let _: Result<[u32; 0], Refused> = self.call(c"quiesce", []);
    }
}
