//! `cat FILE...`: prints files, `-` being standard input; without arguments the
//! lazy-TLB report.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::ffi::CString;

use user::file::{self, STDIN, STDOUT};
use user::{Env, Errno, eprintln};

user::main!(main);

fn main(env: &Env) -> i32 {
    let mut paths: alloc::vec::Vec<&str> = env.args().skip(1).collect();
    if paths.is_empty() {
        paths.push("/proc/lazy_tlb");
    }
    let mut status = 0;
    for path in paths {
        if let Err(why) = copy_to_stdout(path) {
            eprintln!("cat: {path}: {why}");
            status = 1;
        }
    }
    status
}

fn copy_to_stdout(path: &str) -> Result<(), Errno> {
    let file = match path {
        "-" => STDIN,
        path => file::open(&CString::new(path).map_err(|_| Errno::EINVAL)?)?,
    };
    let mut buffer = [0; 4096];
    loop {
        match file.read(&mut buffer)? {
            0 => return file.close(),
            count => STDOUT.write_all(&buffer[..count])?,
        }
    }
}
