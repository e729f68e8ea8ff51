//! Gives the linker the layout of a program in memory.
//!
//! The target description is the kernel's and names no linker script, so
//! each binary package brings its own, for its own binaries only.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo:rerun-if-changed=user.ld");
    println!("cargo:rustc-link-arg-bins=-T{here}/user.ld");
    // Debug sections are ten times the program, and the initrd occupies memory.
    println!("cargo:rustc-link-arg-bins=--strip-debug");
}
