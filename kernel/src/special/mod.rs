//! Special files: devices, /proc and /sys. They show the kernel to programs, so they lie above
//! the parts that they show.

mod cpus;
mod device;
pub(crate) mod input;
mod interrupts;
mod proc;
mod processes;
mod trace;
pub(crate) mod tty;
mod use_mm;

/// Puts them into the tree. At boot, after the initrd's files.
pub(crate) fn init() {
    let own =
        device::init().and_then(|()| proc::init()).and_then(|()| cpus::init()).and_then(|()| trace::init());
    if let Err(errno) = own {
        crate::println!("initrd: a file is in the way of /dev, /proc or /sys: {errno}");
    }
}
