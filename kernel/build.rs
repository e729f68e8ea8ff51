//! Hands the linker script to the linker, for the kernel's own target only: the
//! host's `cargo test` and `cargo clippy` see nothing of it.

use std::{env, path::Path};

fn main() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../linker/powerpc64-kernel.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo::rustc-link-arg-bins=-T{}", script.display());
    }
}
