//! Device trees: random ones, made by our own builder, and damaged.

use formats::devicetree::{Builder, DeviceTree, Full, Node};

use crate::lies_in;
use crate::mutate::mutate;
use crate::rng::Rng;

/// The header's words that the reader uses: magic, total size, two offsets, two
/// versions, two sizes.
const HEADER_WORDS: [usize; 8] = [0, 1, 2, 3, 5, 6, 8, 9];
const HEADER_BYTES: usize = 40;

/// A tree, perhaps with a wrong word in header or structure, perhaps damaged.
pub(crate) fn make(rng: &mut Rng) -> Vec<u8> {
    let mut buffer = vec![0xaa; 16384];
    let length = build(rng, &mut buffer).unwrap_or(0);
    let mut blob = compact(&buffer[..length]);
    let mut put = |rng: &mut Rng, at: usize| {
        if let Some(room) = blob.get_mut(at..at + 4) {
            let old = u32::from_be_bytes([room[0], room[1], room[2], room[3]]);
            let tokens = [1_u32, 2, 3, 4, 9];
            let new = if rng.one_in(2) { rng.pick(&tokens) } else { rng.nasty(u64::from(old)) as u32 };
            room.copy_from_slice(&new.to_be_bytes());
        }
    };
    match rng.below(4) {
        0 => {
            let field = rng.pick(&HEADER_WORDS);
            put(rng, 4 * field);
        }
        // Words of the structure block, which is last.
        1 => (0..1 + rng.below(3)).for_each(|_| {
            let words = length / 4;
            let at = HEADER_BYTES + 4 * rng.below(words);
            put(rng, at);
        }),
        2 => mutate(rng, &mut blob),
        _ => {}
    }
    blob
}

/// Moves the structure up over the unused room for strings, where damage would
/// test nothing.
fn compact(blob: &[u8]) -> Vec<u8> {
    let word = |at: usize| u32::from_be_bytes(blob[at..at + 4].try_into().unwrap()) as usize;
    let (structure, strings, strings_len) = (word(8), word(12), word(32));
    let moved = (strings + strings_len).next_multiple_of(4);
    let mut short = blob[..strings + strings_len].to_vec();
    short.resize(moved, 0);
    short.extend(&blob[structure..]);
    let total = short.len() as u32;
    short[4..8].copy_from_slice(&total.to_be_bytes());
    short[8..12].copy_from_slice(&(moved as u32).to_be_bytes());
    short
}

fn build(rng: &mut Rng, buffer: &mut [u8]) -> Result<usize, Full> {
    let mut builder = Builder::new(buffer)?;
    node(rng, &mut builder, "", 0)?;
    builder.finish()
}

fn node(rng: &mut Rng, builder: &mut Builder<'_>, name: &str, depth: usize) -> Result<(), Full> {
    builder.begin_node(name)?;
    for _ in 0..rng.below(4) {
        let property = rng.pick(&["reg", "device_type", "model", "#size-cells", "x"]);
        let length = rng.pick(&[0, 1, 4, 5, 8, 16, 33]);
        let byte = rng.pick(&[0, b'c', 0xff]);
        builder.property(property, length, |room| {
            room.fill(byte);
            Some(room.len())
        })?;
    }
    for _ in 0..if depth < 4 { rng.below(3) } else { 0 } {
        let name = rng.pick(&["cpus", "memory@0", "PowerPC,POWER9@8", "a", "abc", "abcd"]);
        node(rng, builder, name, depth + 1)?;
    }
    builder.end_node()
}

/// Properties of any tree that was accepted: everything lies in the blob,
/// children are among the nodes, and the walk ends.
pub(crate) fn check(input: &[u8]) -> bool {
    let Ok(tree) = DeviceTree::new(input) else { return false };
    assert!(tree.total_size() <= input.len());
    // A node has a token, a name and an end.
    let most = input.len() / 8 + 1;
    let nodes: Vec<Node<'_>> = tree.nodes().take(most + 1).collect();
    assert!(!nodes.is_empty() && nodes.len() <= most, "more nodes than fit");
    let mut children = 0;
    for node in &nodes {
        assert!(node.name().is_empty() || lies_in(node.name().as_bytes(), input));
        assert!(node.name().starts_with(node.base_name()));
        for (n, property) in node.properties().enumerate() {
            assert!(n <= most, "more properties than fit");
            assert!(property.value.is_empty() || lies_in(property.value, input));
            assert!(property.name.is_empty() || lies_in(property.name.as_bytes(), input));
            assert_eq!(property.words().count(), property.value.len() / 4);
            assert_eq!(property.pairs_u64().count(), property.value.len() / 16);
            assert!(property.as_str().is_none_or(|text| text.len() < property.value.len()));
            let _ = (property.as_u32(), property.as_u64());
            let first = node.property(property.name).expect("a property that is listed");
            assert_eq!(first.name, property.name);
        }
        let mut iterator = node.children();
        for child in iterator.by_ref() {
            children += 1;
            assert!(children <= nodes.len(), "a node with two parents");
            assert!(lies_in(child.name().as_bytes(), input) || child.name().is_empty());
        }
        assert!(iterator.next().is_none(), "an end that is none");
    }
    for path in ["/cpus/PowerPC,POWER9@8", "/memory@0", "/", "cpus", "//cpus//abc"] {
        if let Some(found) = tree.find(path) {
            assert!(nodes.iter().any(|node| core::ptr::eq(node.name(), found.name())));
        }
    }
    true
}
