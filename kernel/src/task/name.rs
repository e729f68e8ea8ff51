//! The names of tasks: 15 bytes at most, which a program may choose.

/// A name that prints.
pub(crate) struct TaskName([u8; 16]);

impl TaskName {
    /// The name in these bytes, which are padded with zeros.
    pub(super) fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The name up to its end, or to the first bytes that are no UTF-8.
    #[inline]
    pub(crate) fn as_str(&self) -> &str {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        self.0[..end].utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }
}

impl core::fmt::Display for TaskName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The words that hold `name`, cut to 15 bytes and padded with zeros.
pub(super) fn name_words(name: &[u8]) -> [u64; 2] {
    let mut bytes = [0_u8; 16];
    let len = name.len().min(15);
    bytes[..len].copy_from_slice(&name[..len]);
    let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    [word(0), word(8)]
}
