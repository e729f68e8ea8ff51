//! Written trees read back, and damaged ones never panic.

extern crate std;

use std::string::ToString;
use std::vec::Vec;
use std::{format, vec};

use super::{Builder, DeviceTree, Error, Full};

fn put(builder: &mut Builder<'_>, name: &str, value: &[u8]) {
    let fill = |room: &mut [u8]| {
        room.copy_from_slice(value);
        Some(value.len())
    };
    builder.property(name, value.len(), fill).unwrap();
}

/// A small machine: root, memory, two CPUs, chosen.
fn sample() -> Vec<u8> {
    let mut buffer = vec![0xaa; 16384];
    let mut builder = Builder::new(&mut buffer).unwrap();
    builder.begin_node("").unwrap();
    put(&mut builder, "model", b"a machine\0");
    put(&mut builder, "#size-cells", &2_u32.to_be_bytes());
    builder.begin_node("memory@0").unwrap();
    put(&mut builder, "device_type", b"memory\0");
    put(&mut builder, "reg", &0x2000_0000_u128.to_be_bytes());
    builder.end_node().unwrap();
    builder.begin_node("cpus").unwrap();
    for cpu in 0..2_u32 {
        builder.begin_node(&format!("PowerPC,POWER9@{cpu}")).unwrap();
        put(&mut builder, "device_type", b"cpu\0");
        put(&mut builder, "reg", &cpu.to_be_bytes());
        put(&mut builder, "ibm,ppc-interrupt-server#s", &[0, 0, 0, cpu as u8, 0, 0, 0, 9]);
        builder.begin_node("l2-cache").unwrap();
        builder.end_node().unwrap();
        builder.end_node().unwrap();
    }
    builder.end_node().unwrap();
    builder.begin_node("chosen").unwrap();
    put(&mut builder, "bootargs", b"policy=refcount\0");
    put(&mut builder, "linux,initrd-start", &0x55_0000_u64.to_be_bytes());
    put(&mut builder, "empty", b"");
    builder.end_node().unwrap();
    builder.end_node().unwrap();
    let length = builder.finish().unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn what_was_written_reads_back() {
    let blob = sample();
    let tree = DeviceTree::new(&blob).unwrap();
    assert_eq!(tree.total_size(), blob.len());
    assert_eq!(tree.root().property("model").unwrap().as_str(), Some("a machine"));
    assert_eq!(tree.root().property("#size-cells").unwrap().as_u32(), Some(2));
    let children: Vec<_> = tree.root().children().map(|node| node.name()).collect();
    assert_eq!(children, ["memory@0", "cpus", "chosen"]);
    let cpus: Vec<_> = tree
        .find("/cpus")
        .unwrap()
        .children()
        .map(|cpu| cpu.property("ibm,ppc-interrupt-server#s").unwrap().words().collect::<Vec<_>>())
        .collect();
    assert_eq!(cpus, [[0, 9], [1, 9]]);
    let memory = tree.find("/memory").unwrap();
    assert_eq!(memory.property("reg").unwrap().pairs_u64().collect::<Vec<_>>(), [(0, 0x2000_0000)]);
    let chosen = tree.find("/chosen").unwrap();
    assert_eq!(chosen.property("linux,initrd-start").unwrap().as_u64(), Some(0x55_0000));
    assert_eq!(chosen.property("empty").unwrap().value, b"");
    assert!(chosen.property("bootarg").is_none());
    assert_eq!(tree.nodes().count(), 8);
}

#[test]
fn a_path_finds_its_node() {
    let blob = sample();
    let tree = DeviceTree::new(&blob).unwrap();
    assert_eq!(tree.find("/").unwrap().name(), "");
    assert_eq!(tree.find("/cpus/PowerPC,POWER9@1").unwrap().name(), "PowerPC,POWER9@1");
    assert_eq!(tree.find("/cpus/PowerPC,POWER9/l2-cache").unwrap().name(), "l2-cache");
    // A child of a sibling is not a child.
    assert!(tree.find("/memory/chosen").is_none());
    assert!(tree.find("/l2-cache").is_none());
    assert!(tree.find("cpus").is_none());
}

#[test]
fn names_are_shared() {
    let blob = sample();
    let count = |name: &[u8]| blob.windows(name.len()).filter(|window| *window == name).count();
    assert_eq!(count(b"ibm,ppc-interrupt-server#s\0"), 1);
    assert_eq!(count(b"device_type\0"), 1);
}

#[test]
fn a_property_may_be_left_out_or_cut() {
    let mut buffer = vec![0; 16384];
    let mut builder = Builder::new(&mut buffer).unwrap();
    builder.begin_node("").unwrap();
    builder.property("gone", 8, |_| None).unwrap();
    builder
        .property("cut", 8, |room| {
            room.fill(1);
            Some(5)
        })
        .unwrap();
    builder.end_node().unwrap();
    let length = builder.finish().unwrap();
    let tree = DeviceTree::new(&buffer[..length]).unwrap();
    assert!(tree.root().property("gone").is_none());
    assert_eq!(tree.root().property("cut").unwrap().value, [1; 5]);
    assert_eq!(tree.root().property("cut").unwrap().as_u64(), None);
}

#[test]
fn a_small_buffer_is_full() {
    assert_eq!(Builder::new(&mut [0; 100]).err(), Some(Full));
    let mut buffer = vec![0; 8300];
    let mut builder = Builder::new(&mut buffer).unwrap();
    builder.begin_node("").unwrap();
    assert_eq!(builder.property("reg", 100, |_| Some(100)), Err(Full));
    assert_eq!(builder.property("reg", usize::MAX, |_| Some(0)), Err(Full));
    let mut buffer = vec![0; 1 << 20];
    let mut builder = Builder::new(&mut buffer).unwrap();
    builder.begin_node("").unwrap();
    let names = (0..10_000).map(|number: u32| number.to_string());
    let full = names.map(|name| builder.property(&name, 0, |_| Some(0))).find(Result::is_err);
    assert_eq!(full, Some(Err(Full)));
}

/// Asks everything that a caller can ask, so that every part is read.
fn read_all(blob: &[u8]) {
    let Ok(tree) = DeviceTree::new(blob) else {
        return;
    };
    let _ = tree.find("/cpus/PowerPC,POWER9@1/l2-cache");
    for node in tree.nodes() {
        let _ = (node.name(), node.base_name(), node.children().count());
        for property in node.properties() {
            let _ = (property.as_str(), property.as_u32(), property.as_u64());
            let _ = (property.words().count(), property.pairs_u64().count());
        }
    }
}

#[test]
fn a_blob_cut_anywhere_is_refused() {
    let blob = sample();
    assert_eq!(DeviceTree::new(b"").err(), Some(Error::Truncated));
    assert_eq!(DeviceTree::new(&[0; 64]).err(), Some(Error::Magic));
    for length in 4..blob.len() {
        assert_eq!(DeviceTree::new(&blob[..length]).err(), Some(Error::Truncated));
    }
}

#[test]
fn a_damaged_blob_never_panics() {
    let blob = sample();
    let structure = super::word(&blob, 8).unwrap() as usize;
    let interesting = (0..60).chain(structure..blob.len());
    for at in interesting {
        for value in [0, 1, 2, 3, 4, 9, 0x7f, 0x80, 0xff] {
            let mut damaged = blob.clone();
            damaged[at] = value;
            read_all(&damaged);
        }
    }
}

#[test]
fn a_structure_without_root_is_refused() {
    let mut blob = sample();
    let structure = super::word(&blob, 8).unwrap() as usize;
    blob[structure + 3] = 2;
    assert_eq!(DeviceTree::new(&blob).err(), Some(Error::NoRoot));
}
