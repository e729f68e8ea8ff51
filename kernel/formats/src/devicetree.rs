//! A reader for the flattened device tree (Devicetree Specification 0.4, chapter 5).
//!
//! The blob is walked where it lies: a [`Node`] is a position in it, and every
//! question scans forward from there. Nothing is trusted: a blob cut or damaged
//! anywhere gives an error, an end or a `None`, never a panic and never a walk
//! without end, because every step moves forward.

mod builder;
#[cfg(test)]
mod tests;

pub use builder::{Builder, Full};

const MAGIC: u32 = 0xd00d_feed;
const HEADER_BYTES: usize = 40;
/// The structure block has not changed since version 16; 17 added its size.
const VERSION: u32 = 17;
const OLDEST_COMPATIBLE: u32 = 16;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// Why a blob was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It does not start with the magic number.
    Magic,
    /// A version that this reader does not know.
    Version,
    /// A block lies outside the blob, or the blob ends early.
    Truncated,
    /// The structure block does not start with a node.
    NoRoot,
}

/// A flattened device tree.
#[derive(Clone, Copy, Debug)]
pub struct DeviceTree<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
    total_size: usize,
}

/// One node: a name, properties, children.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    tree: DeviceTree<'a>,
    name: &'a str,
    /// Where its first property or child starts in the structure block.
    body: usize,
}

/// One property of a node.
#[derive(Clone, Copy, Debug)]
pub struct Property<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its bytes, uninterpreted.
    pub value: &'a [u8],
}

/// The big-endian word at `at`, if it is there.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// The text at `at` up to its NUL.
fn text(bytes: &[u8], at: usize) -> Option<&str> {
    let bytes = bytes.get(at..)?;
    let end = bytes.iter().position(|&byte| byte == 0)?;
    core::str::from_utf8(&bytes[..end]).ok()
}

/// Items start at multiples of four.
fn aligned(at: usize) -> Option<usize> {
    at.checked_next_multiple_of(4)
}

/// One item of the structure block.
enum Token<'a> {
    Begin(&'a str),
    End,
    Property(Property<'a>),
}

impl<'a> DeviceTree<'a> {
    /// Reads the header of `blob`, which may be longer than the tree.
    ///
    /// # Errors
    /// See [`Error`]. The nodes are only looked at when they are asked for.
    pub fn new(blob: &'a [u8]) -> Result<Self, Error> {
        let field = |index: usize| word(blob, index * 4).ok_or(Error::Truncated);
        if field(0)? != MAGIC {
            return Err(Error::Magic);
        }
        if field(5)? < VERSION || field(6)? > VERSION {
            return Err(Error::Version);
        }
        let total_size = field(1)? as usize;
        let blob = blob.get(..total_size).ok_or(Error::Truncated)?;
        let block = |offset: u32, size: u32| {
            let end = (offset as usize).checked_add(size as usize)?;
            blob.get(offset as usize..end)
        };
        let tree = Self {
            structure: block(field(2)?, field(9)?).ok_or(Error::Truncated)?,
            strings: block(field(3)?, field(8)?).ok_or(Error::Truncated)?,
            total_size,
        };
        match tree.token(0) {
            Some((Token::Begin(_), _)) => Ok(tree),
            _ => Err(Error::NoRoot),
        }
    }

    /// The length of the blob, in bytes.
    #[must_use]
    pub fn total_size(&self) -> usize {
        self.total_size
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Node<'a> {
        match self.token(0) {
            Some((Token::Begin(name), body)) => Node { tree: *self, name, body },
            // Not reached: `new` has checked the root. An empty node.
            _ => Node { tree: *self, name: "", body: self.structure.len() },
        }
    }

    /// The node at a path such as `/cpus/PowerPC,POWER9@0`. A step without a unit
    /// address takes the first child of that name.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Node<'a>> {
        let steps = path.strip_prefix('/')?.split('/').filter(|step| !step.is_empty());
        let mut node = self.root();
        for step in steps {
            node = node.children().find(|child| child.name == step || child.base_name() == step)?;
        }
        Some(node)
    }

    /// All nodes, each before its children, the root first.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let tree = *self;
        let mut at = 0;
        core::iter::from_fn(move || {
            loop {
                let (token, next) = tree.token(at)?;
                at = next;
                if let Token::Begin(name) = token {
                    return Some(Node { tree, name, body: at });
                }
            }
        })
    }

    /// The item at `at` and where the next one starts. None at the end or where the
    /// block makes no sense.
    fn token(&self, mut at: usize) -> Option<(Token<'a>, usize)> {
        loop {
            let kind = word(self.structure, at)?;
            at += 4;
            return match kind {
                NOP => continue,
                BEGIN_NODE => {
                    let name = text(self.structure, at)?;
                    Some((Token::Begin(name), aligned(at + name.len() + 1)?))
                }
                END_NODE => Some((Token::End, at)),
                PROP => {
                    let length = word(self.structure, at)? as usize;
                    let name = text(self.strings, word(self.structure, at + 4)? as usize)?;
                    let end = (at + 8).checked_add(length)?;
                    let value = self.structure.get(at + 8..end)?;
                    Some((Token::Property(Property { name, value }), aligned(end)?))
                }
                // END, or an unknown token.
                _ => None,
            };
        }
    }
}

impl<'a> Node<'a> {
    /// Its name with the unit address, e.g. `memory@0`; empty for the root.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its name without the unit address.
    #[must_use]
    pub fn base_name(&self) -> &'a str {
        self.name.split('@').next().unwrap_or(self.name)
    }

    /// Its properties, in the order of the blob.
    pub fn properties(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        let (tree, mut at) = (self.tree, self.body);
        core::iter::from_fn(move || match tree.token(at)? {
            (Token::Property(property), next) => {
                at = next;
                Some(property)
            }
            _ => None,
        })
    }

    /// The property `name`, if the node has one.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<Property<'a>> {
        self.properties().find(|property| property.name == name)
    }

    /// Its children, in the order of the blob.
    pub fn children(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let (tree, mut at) = (self.tree, self.body);
        // Open nodes below this one.
        let mut depth = 0_usize;
        core::iter::from_fn(move || {
            loop {
                let (token, next) = tree.token(at)?;
                match token {
                    Token::Property(_) => {}
                    Token::Begin(name) => {
                        depth += 1;
                        if depth == 1 {
                            at = next;
                            return Some(Node { tree, name, body: next });
                        }
                    }
                    // The end of this node: stay on it, so that the iterator stays
                    // at its end.
                    Token::End => depth = depth.checked_sub(1)?,
                }
                at = next;
            }
        })
    }
}

impl<'a> Property<'a> {
    /// The value as one word.
    #[must_use]
    pub fn as_u32(&self) -> Option<u32> {
        (self.value.len() == 4).then(|| word(self.value, 0))?
    }

    /// The value as one number of one or two words.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self.value.len() {
            4 => self.as_u32().map(u64::from),
            8 => Some(u64::from_be_bytes(self.value.try_into().ok()?)),
            _ => None,
        }
    }

    /// The value as text: the first string of a list of strings.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        text(self.value, 0)
    }

    /// The value as words. Bytes that do not fill a word are left out.
    pub fn words(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.value.as_chunks().0.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// The value as pairs of 64-bit numbers: `reg` where #address-cells and
    /// #size-cells are 2. Bytes that do not fill a pair are left out.
    pub fn pairs_u64(&self) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        self.value.as_chunks::<16>().0.iter().map(|bytes| {
            let pair = u128::from_be_bytes(*bytes);
            ((pair >> 64) as u64, pair as u64)
        })
    }
}
